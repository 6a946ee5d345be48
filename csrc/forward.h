// The forward pass of one direction of one layer, as one worker has it, over some of its steps. Included by the sources
// of a level only.
#pragma once

#include "gates.h"
#include "rows.h"
#include "staged_forward.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {

// E is the type of what is multiplied.
template <class T, class E>
class Forward {
 public:
  Forward(const ForwardPass<T>& pass, int worker, Arena& arena)
      : pass_(pass),
        layout_(pass.layout),
        shape_(*pass.shape),
        worker_(worker),
        share_(share_of(pass, worker)),
        rows_(pass, share_.most_rows, arena),
        gates_(pass, share_, arena),
        staged_(pass, arena),
        products_(arena.take<RowProducts<T>>(shape_.staged ? kMostTileRows : 0)) {
    for (int s = 0; s < kMostStates; ++s) states_[s] = {pass.states[s].base, pass.states[s].step, pass.states[s].row};
  }

  void run(const Span<T>& span) {
    gates_.begin();
    for (Index n = span.begin; n < span.end; ++n) {
      const Index t = pass_.time(n);
      rows_.find(pass_, share_, span, states_, t);
      find_places(t, span.kept_from);
      gates_.find(rows_, n, span.end);
      shape_.staged ? run_stages() : run_blocks();
      if (pass_.workers.share_rows) pass_.workers.wait();
      const Index next = n + 1;
      const bool begins_span = pass_.checkpoints[0] && next % pass_.every == 0 && next < pass_.schedule.steps;
      if (begins_span) keep_states(next / pass_.every);
    }
  }

  // Zeros after the last step of each row.
  void clear_padding() {
    const Schedule& schedule = pass_.schedule;
    if (!schedule.lengths) return;
    for (Index b = 0; b < schedule.batch; ++b) {
      if (pass_.workers.share_rows ? worker_ > 0 : pass_.workers.owners[b] != worker_) continue;
      for (Index t = schedule.lengths[b]; t < schedule.steps; ++t) clear(t, b);
    }
  }

 private:
  // Where a worker's own part of n equal things begins or ends: where the rows are shared, these are not.
  Index own_part(Index n, int end) const {
    if (!pass_.workers.share_rows) return end ? n : 0;
    return pass_.workers.part(n, worker_ + end);
  }

  // Where the rows write.
  void find_places(Index t, Index kept_from) {
    for (Index n = 0; n < rows_.count; ++n) {
      TileRow<T>& row = rows_.rows[n];
      for (int s = 0; s < shape_.states; ++s) {
        row.next[s] = pass_.states[s].base + (t - kept_from) * pass_.states[s].step + row.batch * pass_.states[s].row;
      }
      if (pass_.copy.base) row.copy = pass_.copy.base + t * pass_.copy.step + row.batch * pass_.copy.row;
    }
  }

  // Each block is stepped through while its products are hot.
  void run_blocks() {
    for (Index block = share_.first_block; block < share_.last_block; ++block) {
      gates_.multiply(rows_, block, [&](const Tile<T>& tile, const T* z) {
        pass_.code->forward(pass_, tile.rows, tile.count, z, block);
      });
    }
  }

  void run_stages() {
    for (Index block = share_.first_block; block < share_.last_block; ++block) gates_.multiply_apart(rows_, block);
    if (pass_.workers.share_rows) pass_.workers.wait();
    const Index begin = own_part(rows_.count, 0), end = own_part(rows_.count, 1);
    for (Index first = begin; first < end; first += kTileRows) {
      const int count = static_cast<int>(end - first < kTileRows ? end - first : kTileRows);
      for (int r = 0; r < count; ++r) products_[r] = gates_.products(first + r);
      staged_.run(rows_.pointers + first, count, products_);
    }
  }

  // The states before a step that a later span begins with. A row that is not within its length needs none.
  void keep_states(Index place) const {
    for (Index n = 0; n < rows_.count; ++n) {
      const TileRow<T>& row = rows_.rows[n];
      for (int s = 0; s < shape_.states; ++s) {
        const Index width = pass_.state_width(s), first = own_part(width, 0), last = own_part(width, 1);
        T* to = pass_.checkpoints[s] + (place * pass_.schedule.batch + row.batch) * width;
        __builtin_memcpy(to + first, row.next[s] + first, static_cast<std::size_t>(last - first) * sizeof(T));
      }
    }
    // The next step may change a state in its place.
    if (pass_.workers.share_rows) pass_.workers.wait();
  }

  void clear(Index t, Index b) {
    const Index at = t * pass_.schedule.batch + b;
    for (int s = 0; s < shape_.states; ++s) {
      const Strided<T>& state = pass_.states[s];
      if (state.step) clear_row(state.base + t * state.step + b * state.row, pass_.state_width(s));
    }
    if (pass_.copy.base) clear_row(pass_.copy.base + t * pass_.copy.step + b * pass_.copy.row, layout_.width);
    for (int k = 0; k < shape_.values; ++k) {
      if (pass_.values[k]) clear_row(pass_.values[k] + at * pass_.value_width(k), pass_.value_width(k));
    }
    if (pass_.numbers) clear_row(pass_.numbers + at * shape_.numbers, shape_.numbers);
  }

  static void clear_row(T* row, Index width) {
    __builtin_memset(row, 0, static_cast<std::size_t>(width) * sizeof(T));
  }

  const ForwardPass<T>& pass_;
  const Layout& layout_;
  const CellShape& shape_;
  const int worker_;
  const Share share_;
  StepRows<T> rows_;
  Gates<T, E> gates_;
  StagedForward<T> staged_;
  RowProducts<T>* products_;
  Strided<const T> states_[kMostStates];
};

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
