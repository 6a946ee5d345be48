// The products that lead to the gates: z = bias + x W + h R, block by block. Included by the sources of a level only.
#pragma once

#include "operands.h"
#include "rows.h"
#include "staged_forward.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {

// Larger panels are multiplied part by part by all rows, so that each part stays in the second cache meanwhile.
constexpr Index kPanelBytes = 512 * 1024;

constexpr int kMostRuns = 3;  // two parts of x, and what enters weight_hh

// E is the type of what is multiplied.
template <class T, class E>
class Gates {
 public:
  Gates(const ForwardPass<T>& pass, const Share& share, Arena& arena)
      : pass_(pass),
        layout_(pass.layout),
        share_(share),
        panels_(reinterpret_cast<const E*>(pass.panels)),
        panel_size_(forward_panel_size<E>(layout_)),
        x_rows_(Operands<E>::panel_rows(layout_.inputs)),
        h_rows_(Operands<E>::panel_rows(layout_.width)),
        x_scratch_(Operands<E>::scratch_width(layout_.inputs)),
        h_scratch_(Operands<E>::scratch_width(layout_.width)),
        parts_(ceil_div(panel_size_ * static_cast<Index>(sizeof(E)), kPanelBytes)),
        runs_(arena.take<Run<E>>(kMostRuns * share.most_rows)),
        rounded_x_(arena.take<E>(share.most_rows * x_scratch_)),
        rounded_h_(arena.take<E>(share.most_rows * h_scratch_)),
        rounded_ahead_(arena.take<E>(pass.ahead_rows * x_scratch_)),
        z_(arena.take<T>((parts_ > 1 ? round_up(share.most_rows, kMostTileRows) : kMostTileRows) * layout_.columns())),
        begins_(arena.take<const T*>(share.most_rows)),
        partial_(arena.take<const T*>(kMostTileRows)),
        gathered_(arena.take<T>(pass.sparse.columns ? share.most_rows * layout_.columns() : 0)),
        ahead_x_{arena.take<const E*>(pass.ahead_rows), arena.take<const E*>(pass.ahead_rows)},
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
      const Tile<T>& own = rows.tiles[tile];
      const E *x[2][kMostTileRows], *h[kMostTileRows];
      for (int r = 0; r < own.count; ++r) {
        E* rounded = rounded_x_ + (first + r) * x_scratch_;
        if (!pass_.ahead_rows) set_input(t, own.rows[r]->batch, rounded, x[0][r], x[1][r]);
        h[r] = entering(rows.entering[first + r], rounded_h_ + (first + r) * h_scratch_);
      }
      Run<E>* runs = runs_ + kMostRuns * tile;
      for (int part = 0; part < 2; ++part) {
        runs[part] = run_of(x[part], own.count, pass_.ahead_rows ? 0 : part_rows(part));
      }
      runs[2] = run_of(h, own.count, h_rows_);
    }
  }

  // Calls done(tile, z) for each tile, z [its rows, columns].
  template <class Done>
  HOLDFAST_INLINE void multiply(const StepRows<T>& rows, Index block, Done done) {
    set_begins(rows, block);
    const Index columns = layout_.columns(), top = pass_.ahead_rows ? x_rows_ : 0;
    const Index length = x_rows_ + h_rows_ - top;
    const Index parts = rows.tile_count > 1 ? parts_ : 1;
    for (Index part = 0; part < parts; ++part) {
      const Index from = length / 2 * part / parts * 2;
      const Index to = part + 1 < parts ? length / 2 * (part + 1) / parts * 2 : length;
      for (Index tile = 0, first = 0; tile < rows.tile_count; first += rows.tiles[tile++].count) {
        const Tile<T>& own = rows.tiles[tile];
        T* z = z_ + (parts > 1 ? first * columns : 0);
        Run<E> some[kMostRuns];
        const Run<E>* runs = runs_ + kMostRuns * tile;
        const int count = parts > 1 ? cut(runs, own.count, from, to, some) : kMostRuns;
        const E* panel = panels_ + block * panel_size_ + (top + from) * columns;
        for (int r = 0; part > 0 && r < own.count; ++r) partial_[r] = z + r * columns;
        const Product<E> product = {parts > 1 ? some : runs, count, panel, columns,
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
    const E* panel = panels_ + block * panel_size_;
    for (Index tile = 0, first = 0; tile < rows.tile_count; first += rows.tiles[tile++].count) {
      const Tile<T>& own = rows.tiles[tile];
      const T* const* begin = pass_.sparse.columns ? begins_ + first : nullptr;
      const Run<E>* runs = runs_ + kMostRuns * tile;
      multiply_panel(Product<E>{runs, 2, panel, columns, begin, place(pass_.z_input, block, first), columns, 0},
                     own.count, layout_.vectors());
    }
    panel += x_rows_ * columns;
    for (Index tile = 0, first = 0; tile < rows.tile_count; first += rows.tiles[tile++].count) {
      const Tile<T>& own = rows.tiles[tile];
      const Run<E>* run = runs_ + kMostRuns * tile + 2;
      multiply_panel(Product<E>{run, 1, panel, columns, nullptr, place(pass_.z, block, first), columns, 0}, own.count,
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

  // How much of a part of x is a run; rounded, both parts are one.
  Index part_rows(int part) const {
    if constexpr (Operands<E>::kRounded) return part == 0 ? x_rows_ : 0;
    return pass_.widths[part];
  }

  // Where both parts of x lie, or where they were rounded to.
  void set_input(Index t, Index b, [[maybe_unused]] E* rounded, const E*& first, const E*& second) const {
    if constexpr (Operands<E>::kRounded) {
      first = second = rounded;
      for (int part = 0; part < 2; ++part) {
        E* to = rounded + (part ? pass_.widths[0] : 0);
        if (pass_.widths[part]) round_row(input(part, t, b), pass_.widths[part], to);
      }
    } else {
      first = input(0, t, b);
      second = input(1, t, b);
    }
  }

  const E* entering(const T* h, [[maybe_unused]] E* rounded) const {
    if constexpr (Operands<E>::kRounded) {
      round_row(h, layout_.width, rounded);
      return rounded;
    } else {
      return h;
    }
  }

  T* place(T* z, Index block, Index row) const {
    const Index first = share_.all_rows ? 0 : share_.worker * share_.most_rows;
    return z + (block * pass_.z_rows + first + row) * layout_.columns();
  }

  // The runs of a tile from column `from` up to `to` of [x, h].
  static int cut(const Run<E>* runs, int rows, Index from, Index to, Run<E>* some) {
    int count = 0;
    Index begin = 0;  // of the run
    for (const Run<E>* whole = runs; whole < runs + kMostRuns; ++whole) {
      const Index first = from > begin ? from - begin : 0;
      const Index last = to - begin < whole->length ? to - begin : whole->length;
      begin += whole->length;
      if (first >= last) continue;
      Run<E>& own = some[count++];
      own = *whole;
      for (int r = 0; r < rows; ++r) own.rows[r] = whole->rows[r] + first;
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
        set_input(t, list[k], rounded_ahead_ + count * x_scratch_, ahead_x_[0][count], ahead_x_[1][count]);
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
        const Run<E> runs[2] = {run_of(ahead_x_[0] + first, size, part_rows(0)),
                                run_of(ahead_x_[1] + first, size, part_rows(1))};
        const Product<E> product = {runs, 2, panels_ + block * panel_size_, columns, begin, ahead_of(block, first),
                                    columns, 0};
        multiply_panel(product, size, layout_.vectors());
        first = last;
      }
    }
    return n;
  }

  const ForwardPass<T>& pass_;
  const Layout& layout_;
  const Share share_;
  const E* panels_;
  const Index panel_size_, x_rows_, h_rows_;  // rows of a panel
  const Index x_scratch_, h_scratch_;         // elements of a row that is rounded
  const Index parts_;                         // of a panel
  Run<E>* runs_;                              // [tiles, kMostRuns]
  E *rounded_x_, *rounded_h_, *rounded_ahead_;
  T* z_;
  const T** begins_;
  const T** partial_;
  T* gathered_;  // [rows, columns]
  const E** ahead_x_[2];
  T* ahead_;  // [own blocks, ahead_rows, columns]
  Index ahead_until_ = -1;  // the step after those whose products with x are made
  Index slot_ = 0, next_slot_ = 0;  // rows of those that were used before this step and up to it
};

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
