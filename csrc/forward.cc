// The forward pass of one direction of one layer, as one worker has it, and one frame of it.
#include "pack.h"
#include "rows.h"
#include "step.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {
namespace {

template <class T>
class Forward {
 public:
  Forward(const ForwardPass<T>& pass, int worker, Arena& arena)
      : pass_(pass),
        layout_(pass.layout),
        pointwise_(kPointwise<T>[pass.cell]),
        shape_(kShapes[pass.cell]),
        worker_(worker),
        share_(share_of(pass, worker)),
        most_(share_.last_row - share_.first_row),
        rows_(pass, most_, arena),
        z_(arena.take<T>(kMostTileRows * layout_.columns())),
        begins_(arena.take<const T*>(most_)),
        ahead_x_{arena.take<const T*>(pass.ahead_rows), arena.take<const T*>(pass.ahead_rows)},
        ahead_(arena.take<T>((share_.last_block - share_.first_block) * pass.ahead_rows * layout_.columns())) {
    for (int s = 0; s < kMostStates; ++s) states_[s] = {pass.states[s].base, pass.states[s].step, pass.states[s].row};
  }

  void run() {
    const Index steps = pass_.schedule.steps;
    Index ahead = 0, slot = 0;  // steps whose products with x are made, rows of those that were used
    for (Index n = 0; n < steps; ++n) {
      if (pass_.ahead_rows && n == ahead) {
        ahead = multiply_ahead(n);
        slot = 0;
      }
      const Index t = time(n);
      rows_.find(pass_, share_, states_, t);
      find_places(t);
      for (Index block = share_.first_block; block < share_.last_block; ++block) run_block(block, slot);
      slot += rows_.count;
      if (pass_.workers.share_rows) pass_.workers.wait();
    }
    clear_padding();
  }

 private:
  Index time(Index n) const { return pass_.reverse ? pass_.schedule.steps - 1 - n : n; }

  // Where the rows write, and what their tiles multiply.
  void find_places(Index t) {
    for (Index n = 0; n < rows_.count; ++n) {
      TileRow<T>& row = rows_.rows[n];
      for (int s = 0; s < shape_.states; ++s) {
        row.next[s] = pass_.states[s].base + t * pass_.states[s].step + row.batch * pass_.states[s].row;
      }
      if (pass_.copy.base) row.copy = pass_.copy.base + t * pass_.copy.step + row.batch * pass_.copy.row;
    }
    Index first = 0;
    for (Index n = 0; n < rows_.tile_count; ++n) {
      Tile<T>& tile = rows_.tiles[n];
      for (int part = 0; part < 2 && !pass_.ahead_rows; ++part) {
        const T* x[kMostTileRows];
        for (int r = 0; r < tile.count; ++r) x[r] = input(part, t, tile.rows[r]->batch);
        tile.runs[part] = run_of(x, tile.count, pass_.widths[part]);
      }
      tile.runs[2] = run_of(rows_.entering + first, tile.count, layout_.hidden);
      first += tile.count;
    }
  }

  const T* input(int part, Index t, Index b) const {
    const Strided<const T>& x = pass_.x[part];
    return x.base ? x.base + t * x.step + b * x.row : nullptr;
  }

  void run_block(Index block, Index slot) {
    const T* panel = pass_.panels + block * layout_.forward_panel();
    const bool ahead = pass_.ahead_rows != 0;
    for (Index n = 0; n < rows_.count; ++n) {
      begins_[n] = ahead ? ahead_of(block, slot + n) : pass_.biases + block * layout_.columns();
    }
    if (ahead) panel += layout_.inputs * layout_.columns();
    const T* const* begin = begins_;
    for (Index n = 0; n < rows_.tile_count; ++n) {
      const Tile<T>& tile = rows_.tiles[n];
      const Product<T> product = {ahead ? tile.runs + 2 : tile.runs, ahead ? 1 : kMostRuns, panel, begin, z_,
                                  layout_.columns()};
      kMultiply<T>[tile.count - 1][layout_.vectors() - 1](product);
      pointwise_.forward(pass_, tile.rows, tile.count, z_, block);
      begin += tile.count;
    }
  }

  T* ahead_of(Index block, Index slot) const {
    const Index own = block - share_.first_block;
    return ahead_ + (own * pass_.ahead_rows + slot) * layout_.columns();
  }

  // The products with x of as many steps from the n-th on as fit; returns the one after them.
  Index multiply_ahead(Index n) {
    Index count = 0;
    for (; n < pass_.schedule.steps; ++n) {
      const Index t = time(n), before = count;
      const std::int32_t* list = pass_.schedule.at(t);
      const Index present = pass_.schedule.count(t);
      bool fits = true;
      for (Index k = 0; k < present && fits; ++k) {
        if (list[k] < share_.first_row || list[k] >= share_.last_row) continue;
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
    const Index tiles = ceil_div(count, kTileRows);
    for (Index block = share_.first_block; block < share_.last_block; ++block) {
      const T* bias = pass_.biases + block * layout_.columns();
      const T* const begin[kMostTileRows] = {bias, bias, bias, bias, bias, bias};
      for (Index tile = 0, first = 0; tile < tiles; ++tile) {
        const Index last = count * (tile + 1) / tiles;
        const int size = static_cast<int>(last - first);
        const Run<T> runs[2] = {run_of(ahead_x_[0] + first, size, pass_.widths[0]),
                                run_of(ahead_x_[1] + first, size, pass_.widths[1])};
        const Product<T> product = {runs,  2, pass_.panels + block * layout_.forward_panel(),
                                    begin, ahead_of(block, first), layout_.columns()};
        kMultiply<T>[size - 1][layout_.vectors() - 1](product);
        first = last;
      }
    }
    return n;
  }

  // Zeros after the last step of each row.
  void clear_padding() {
    if (!pass_.schedule.lengths || (pass_.workers.share_rows && worker_ > 0)) return;
    for (Index b = share_.first_row; b < share_.last_row; ++b) {
      for (Index t = pass_.schedule.lengths[b]; t < pass_.schedule.steps; ++t) clear(t, b);
    }
  }

  void clear(Index t, Index b) {
    const Index bytes = layout_.hidden * static_cast<Index>(sizeof(T));
    for (int s = 0; s < shape_.states; ++s) {
      const Strided<T>& state = pass_.states[s];
      if (state.step) __builtin_memset(state.base + t * state.step + b * state.row, 0, bytes);
    }
    if (pass_.copy.base) __builtin_memset(pass_.copy.base + t * pass_.copy.step + b * pass_.copy.row, 0, bytes);
    for (int k = 0; k < shape_.values; ++k) {
      T* value = pass_.values[k];
      if (value) __builtin_memset(value + (t * pass_.schedule.batch + b) * layout_.hidden, 0, bytes);
    }
  }

  const ForwardPass<T>& pass_;
  const Layout& layout_;
  const Pointwise<T>& pointwise_;
  const CellShape& shape_;
  const int worker_;
  const Share share_;
  const Index most_;
  StepRows<T> rows_;
  T* z_;
  const T** begins_;
  const T** ahead_x_[2];
  T* ahead_;  // [own blocks, ahead_rows, columns]
  Strided<const T> states_[kMostStates];
};

}  // namespace

template <class T>
Index forward_scratch(const ForwardPass<T>& pass, int worker) {
  Arena arena{nullptr, 0};
  const Forward<T> counted(pass, worker, arena);
  return arena.used;
}

template <class T>
void forward(const ForwardPass<T>& pass, int worker) {
  if (!pass.packed) {
    pack_forward(pass, worker);
    pass.workers.wait();
  }
  Arena arena{pass.scratch + worker * pass.scratch_bytes, 0};
  Forward<T>(pass, worker, arena).run();
}

template <class T>
void step(const ForwardPass<T>& pass, const Frame<T>& frame) {
  frame.batch == 1 ? kStepRow<T>[pass.cell](pass, frame) : step_tiles(pass, frame);
}

template Index forward_scratch(const ForwardPass<float>&, int);
template Index forward_scratch(const ForwardPass<double>&, int);
template void forward(const ForwardPass<float>&, int);
template void forward(const ForwardPass<double>&, int);
template void step(const ForwardPass<float>&, const Frame<float>&);
template void step(const ForwardPass<double>&, const Frame<double>&);

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
