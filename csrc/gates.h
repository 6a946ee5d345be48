// The products that lead to the gates: z = bias + x W + h R, block by block. Included by the sources of a level only.
#pragma once

#include "rows.h"
#include "staged_forward.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {

// Larger panels are multiplied part by part by all rows, so that each part stays in the second cache meanwhile.
constexpr Index kPanelBytes = 512 * 1024;

template <class T>
class Gates {
 public:
  Gates(const ForwardPass<T>& pass, const Share& share, Arena& arena)
      : pass_(pass),
        layout_(pass.layout),
        share_(share),
        parts_(ceil_div(layout_.forward_panel() * static_cast<Index>(sizeof(T)), kPanelBytes)),
        z_(arena.take<T>((parts_ > 1 ? round_up(share.most_rows, kMostTileRows) : kMostTileRows) * layout_.columns())),
        begins_(arena.take<const T*>(share.most_rows)),
        partial_(arena.take<const T*>(kMostTileRows)),
        gathered_(arena.take<T>(pass.sparse.columns ? share.most_rows * layout_.columns() : 0)),
        ahead_x_{arena.take<const T*>(pass.ahead_rows), arena.take<const T*>(pass.ahead_rows)},
        ahead_(arena.take<T>((share.last_block - share.first_block) * pass.ahead_rows * layout_.columns())) {}

  // Before the first step of a span.
  void begin() { ahead_until_ = -1; }

  // What the rows of step n read; the products with x of steps up to `end` may be made.
  void find(StepRows<T>& rows, Index n, Index end) {
    if (pass_.ahead_rows && (ahead_until_ < 0 || n == ahead_until_)) {
      ahead_until_ = multiply_ahead(n, end);
      slot_ = next_slot_ = 0;
    }
    slot_ = next_slot_;
    next_slot_ += rows.count;
    const Index t = pass_.time(n);
    for (Index tile = 0, first = 0; tile < rows.tile_count; first += rows.tiles[tile++].count) {
      Tile<T>& own = rows.tiles[tile];
      for (int part = 0; part < 2; ++part) {
        const T* x[kMostTileRows];
        for (int r = 0; r < own.count; ++r) x[r] = input(part, t, own.rows[r]->batch);
        own.runs[part] = run_of(x, own.count, pass_.ahead_rows ? 0 : pass_.widths[part]);
      }
      own.runs[2] = run_of(rows.entering + first, own.count, layout_.width);
    }
  }

  // Calls done(tile, z) for each tile, z [its rows, columns].
  template <class Done>
  HOLDFAST_INLINE void multiply(const StepRows<T>& rows, Index block, Done done) {
    set_begins(rows, block);
    const Index columns = layout_.columns(), top = pass_.ahead_rows ? layout_.inputs : 0;
    const Index length = layout_.inputs + layout_.width - top;
    const Index parts = rows.tile_count > 1 ? parts_ : 1;
    for (Index part = 0; part < parts; ++part) {
      const Index from = length * part / parts, to = length * (part + 1) / parts;
      for (Index tile = 0, first = 0; tile < rows.tile_count; first += rows.tiles[tile++].count) {
        const Tile<T>& own = rows.tiles[tile];
        T* z = z_ + (parts > 1 ? first * columns : 0);
        Run<T> runs[kMostRuns];
        const int count = parts > 1 ? cut(own, from, to, runs) : kMostRuns;
        const T* panel = pass_.panels + block * layout_.forward_panel() + (top + from) * columns;
        for (int r = 0; part > 0 && r < own.count; ++r) partial_[r] = z + r * columns;
        const Product<T> product = {parts > 1 ? runs : own.runs, count, panel, columns,
                                    part > 0 ? partial_ : begins_ + first, z, columns, 0};
        multiply_panel(product, own.count, layout_.vectors());
        if (part + 1 == parts) done(own, z);
      }
    }
  }

  // Into the pass's own z, for the stages: together, or W x and R h apart.
  void multiply_apart(const StepRows<T>& rows, Index block) {
    const Index columns = layout_.columns();
    if (!pass_.shape->split) {
      Index first = 0;
      multiply(rows, block, [&](const Tile<T>& tile, const T* z) {
        T* to = place(pass_.z, block, first);
        __builtin_memcpy(to, z, static_cast<std::size_t>(tile.count * columns) * sizeof(T));
        first += tile.count;
      });
      return;
    }
    if (pass_.sparse.columns) set_begins(rows, block);
    const T* panel = pass_.panels + block * layout_.forward_panel();
    for (Index tile = 0, first = 0; tile < rows.tile_count; first += rows.tiles[tile++].count) {
      const Tile<T>& own = rows.tiles[tile];
      const T* const* begin = pass_.sparse.columns ? begins_ + first : nullptr;
      multiply_panel<T>({own.runs, 2, panel, columns, begin, place(pass_.z_input, block, first), columns, 0}, own.count,
                        layout_.vectors());
    }
    panel += layout_.inputs * columns;
    for (Index tile = 0, first = 0; tile < rows.tile_count; first += rows.tiles[tile++].count) {
      const Tile<T>& own = rows.tiles[tile];
      multiply_panel<T>({own.runs + 2, 1, panel, columns, nullptr, place(pass_.z, block, first), columns, 0}, own.count,
                        layout_.vectors());
    }
  }

  // Where `multiply_apart` left those of a row, by its place among the rows of this step.
  RowProducts<T> products(Index row) const {
    const Index stride = pass_.z_rows * layout_.columns();
    return {pass_.z_input ? place(pass_.z_input, 0, row) : nullptr, place(pass_.z, 0, row), stride, stride};
  }

 private:
  const T* input(int part, Index t, Index b) const {
    const Strided<const T>& x = pass_.x[part];
    return x.base ? x.base + t * x.step + b * x.row : nullptr;
  }

  T* place(T* z, Index block, Index row) const {
    const Index first = share_.all_rows ? 0 : share_.worker * share_.most_rows;
    return z + (block * pass_.z_rows + first + row) * layout_.columns();
  }

  // The runs of a tile from column `from` up to `to` of [x, h].
  static int cut(const Tile<T>& tile, Index from, Index to, Run<T>* runs) {
    int count = 0;
    Index begin = 0;  // of the run
    for (const Run<T>& whole : tile.runs) {
      const Index first = from > begin ? from - begin : 0;
      const Index last = to - begin < whole.length ? to - begin : whole.length;
      begin += whole.length;
      if (first >= last) continue;
      Run<T>& own = runs[count++];
      own = whole;
      for (int r = 0; r < tile.count; ++r) own.rows[r] = whole.rows[r] + first;
      own.length = last - first;
    }
    return count;
  }

  // What each row's sum begins with.
  void set_begins(const StepRows<T>& rows, Index block) {
    const T* bias = pass_.biases + block * layout_.columns();
    for (Index n = 0; n < rows.count; ++n) {
      begins_[n] = pass_.ahead_rows ? ahead_of(block, slot_ + n) : bias;
      if (pass_.sparse.columns) begins_[n] = gather(rows.rows[n], n, block, pass_.shape->split ? pass_.zeros : bias);
    }
  }

  // Rows of the table on top of `begin`; that is zeros of at least a gate's units where the bias is apart.
  const T* gather(const TileRow<T>& row, Index n, Index block, const T* begin) {
    const Sparse<T>& sparse = pass_.sparse;
    const Index units = layout_.units(), columns = layout_.columns(), hidden = layout_.hidden;
    T* to = gathered_ + n * columns;
    for (int g = 0; g < layout_.gates; ++g) {
      const T* from = pass_.shape->split ? begin : begin + g * units;
      __builtin_memcpy(to + g * units, from, static_cast<std::size_t>(units) * sizeof(T));
    }
    const Index first = sparse.first ? sparse.first[row.at] : row.at;
    const Index last = sparse.first ? sparse.first[row.at + 1] : row.at + 1;
    for (Index k = first; k < last; ++k) {
      const T* table = pass_.weights.input + sparse.columns[k] * layout_.gates * hidden + block * units;
      const Vec<T> factor = broadcast<T>(sparse.factors ? sparse.factors[k] : T{1});
      for (int g = 0; g < layout_.gates; ++g) {
        for (Index u = 0; u < units && block * units + u < hidden; u += kLanes<T>) {
          const Index left = hidden - block * units - u;
          const T* from = table + g * hidden + u;
          T* sum = to + g * units + u;
          const Vec<T> own = left >= kLanes<T> ? load(from) : load(from, static_cast<int>(left));
          store(sum, fma(factor, own, load(sum)));
        }
      }
    }
    return to;
  }

  T* ahead_of(Index block, Index slot) const {
    const Index own = block - share_.first_block;
    return ahead_ + (own * pass_.ahead_rows + slot) * layout_.columns();
  }

  // The products with x of as many steps from the n-th on as fit; returns the one after them.
  Index multiply_ahead(Index n, Index end) {
    Index count = 0;
    for (; n < end; ++n) {
      const Index t = pass_.time(n), before = count;
      const std::int32_t* list = pass_.schedule.at(t);
      const Index present = pass_.schedule.count(t);
      bool fits = true;
      for (Index k = 0; k < present && fits; ++k) {
        if (!share_.all_rows && pass_.workers.owners[list[k]] != share_.worker) continue;
        fits = count < pass_.ahead_rows;
        if (!fits) break;
        for (int part = 0; part < 2; ++part) ahead_x_[part][count] = input(part, t, list[k]);
        ++count;
      }
      if (!fits) {
        count = before;
        break;
      }
    }
    const Index tiles = ceil_div(count, kTileRows), columns = layout_.columns();
    for (Index block = share_.first_block; block < share_.last_block; ++block) {
      const T* bias = pass_.biases + block * columns;
      const T* const begin[kMostTileRows] = {bias, bias, bias, bias, bias, bias};
      for (Index tile = 0, first = 0; tile < tiles; ++tile) {
        const Index last = count * (tile + 1) / tiles;
        const int size = static_cast<int>(last - first);
        const Run<T> runs[2] = {run_of(ahead_x_[0] + first, size, pass_.widths[0]),
                                run_of(ahead_x_[1] + first, size, pass_.widths[1])};
        const Product<T> product = {runs, 2, pass_.panels + block * layout_.forward_panel(), columns,
                                    begin, ahead_of(block, first), columns, 0};
        multiply_panel(product, size, layout_.vectors());
        first = last;
      }
    }
    return n;
  }

  const ForwardPass<T>& pass_;
  const Layout& layout_;
  const Share share_;
  const Index parts_;  // of a panel
  T* z_;
  const T** begins_;
  const T** partial_;
  T* gathered_;  // [rows, columns]
  const T** ahead_x_[2];
  T* ahead_;  // [own blocks, ahead_rows, columns]
  Index ahead_until_ = -1;  // the step after those whose products with x are made
  Index slot_ = 0, next_slot_ = 0;  // rows of those that were used before this step and up to it
};

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
