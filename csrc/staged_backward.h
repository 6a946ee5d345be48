// The stages of a staged cell backward, for the rows of a tile. Included by the sources of a level only.
#pragma once

#include "staged.h"
#include "weight_sums.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {

template <class T>
class StagedBackward {
 public:
  StagedBackward(const BackwardPass<T>& pass, Arena& arena)
      : pass_(pass), shape_(*pass.shape), tile_(pass, true, arena) {
    for (int r = 0; r < kMostTileRows; ++r) {
      upstream_[r] = arena.take<T>(shape_.staged ? shape_.states * tile_.padded : 0);
      sums_[r] = arena.take<T>(shape_.sums);
    }
  }

  // Leaves the gradients of the gates and parameters in the chunk, those of the old states in `carried`.
  void run(const TileRow<T>* const* rows, int count) {
    tile_.count = count;
    for (int r = 0; r < count; ++r) set_row(r, *rows[r]);
    cut_after(-1, rows);
    for (int stage = 0; stage < shape_.backward_stages; ++stage) {
      for (int r = 0; r < count; ++r) pass_.code->backward_stages[stage](tile_.rows[r]);
      cut_after(stage, rows);
    }
  }

 private:
  void set_row(int r, const TileRow<T>& from) {
    StagedRow<T>& row = tile_.rows[r];
    tile_.set_up(row, r);
    for (int s = 0; s < shape_.states; ++s) {
      row.old[s] = from.old[s];
      row.upstream[s] = upstream_[r] + s * tile_.padded;
      row.carried[s] = from.carried[s];
      row.states_at[s] = pass_.states_at[s] ? pass_.states_at[s] + from.at * pass_.state_width(s) : nullptr;
      sum_upstream(from, s, upstream_[r] + s * tile_.padded);
    }
    for (int k = 0; k < shape_.masks; ++k) row.masks[k] = from.masks[k];
    for (int k = 0; k < shape_.values; ++k) {
      row.values[k] = const_cast<T*>(pass_.values[k]) + from.place * pass_.value_width(k);
    }
    row.numbers = const_cast<T*>(pass_.numbers) + from.place * shape_.numbers;
    row.sums = sums_[r];
    for (int j = 0; j < shape_.sums; ++j) row.sums[j] = 0;
    set_chunk(row, from);
  }

  void set_chunk(StagedRow<T>& row, const TileRow<T>& from) const {
    const Layout& layout = pass_.layout;
    const Index row_columns = shape_.row_gradients() * layout.units();
    row.gates = pass_.gates + from.slot * layout.columns();
    row.inputs = pass_.inputs + from.slot * layout.columns();
    row.chunk_stride = pass_.chunk * layout.columns();
    row.row_gradients = pass_.parameters + from.slot * row_columns;
    row.row_stride = pass_.chunk * row_columns;
    for (int g = 0; g < shape_.gates; ++g) {
      row.gate_values[g] = pass_.gate_values[g] ? pass_.gate_values[g] + from.at * layout.hidden : nullptr;
    }
    if (layout.padded() - layout.hidden < kLanes<T>) return;
    // Stages write no vector that lies beyond H as a whole.
    const Index last = layout.blocks() - 1;
    clear(row.gates + last * row.chunk_stride, layout.columns());
    clear(row.inputs + last * row.chunk_stride, layout.columns());
    clear(row.row_gradients + last * row.row_stride, row_columns);
  }

  static void clear(T* to, Index count) { __builtin_memset(to, 0, static_cast<std::size_t>(count) * sizeof(T)); }

  void sum_upstream(const TileRow<T>& row, int s, T* to) const {
    const Index width = pass_.state_width(s);
    for (Index unit = 0; unit < width; unit += kLanes<T>) {
      const int n = width - unit < kLanes<T> ? static_cast<int>(width - unit) : kLanes<T>;
      Vec<T> sum = some(row.carried[s] + unit, n);
      for (const T* outside : row.outside[s]) {
        if (outside) sum += some(outside + unit, n);
      }
      store(to + unit, sum);
    }
  }

  static Vec<T> some(const T* from, int n) { return n == kLanes<T> ? load(from) : load(from, n); }

  void cut_after(int stage, const TileRow<T>* const* rows) {
    for (int n = 0, outers = 0; n < shape_.backward_cut_count; ++n) {
      const Cut& cut = shape_.backward_cuts[n];
      const int outer = cut.kind == CutKind::kOuter ? outers++ : 0;
      if (cut.after != stage) continue;
      if (cut.kind == CutKind::kMean) {
        for (int r = 0; r < tile_.count; ++r) tile_.mean(tile_.rows[r], cut);
      } else if (cut.kind == CutKind::kProductBack) {
        const MatrixLayout& matrix = pass_.matrices[cut.target];
        tile_.multiply(cut, n, pass_.matrix_panels[cut.target], matrix.rows, matrix.columns);
      } else if (pass_.outers[outer].tiles) {
        for (int r = 0; r < tile_.count; ++r) keep_outer(tile_.rows[r], cut, pass_.outers[outer], rows[r]->slot);
      }
    }
  }

  void keep_outer(const StagedRow<T>& row, const Cut& cut, const OuterChunk<T>& outer, Index slot) const {
    const MatrixLayout& matrix = pass_.matrices[cut.target];
    const Index columns = matrix.layout.columns();
    Index column = 0;
    for (int k = 0; k < cut.out_count; ++k) {
      const T* from = StagedTile<T>::at(row, cut.out[k]);
      column = keep_columns(outer.left + slot * kMostTileRows, pass_.chunk, column, from, tile_.width_of(cut.out[k]));
    }
    T* right = outer.right + slot * columns;
    const Index stride = pass_.chunk * columns;
    clear(right + (matrix.layout.blocks() - 1) * stride, columns);
    Index at = 0;
    for (int k = 0; k < cut.in_count; ++k) {
      const T* from = StagedTile<T>::at(row, cut.in[k]);
      for (Index u = 0; u < tile_.width_of(cut.in[k]); ++u, ++at) {
        right[at / columns * stride + at % columns] = from[u];
      }
    }
  }

  const BackwardPass<T>& pass_;
  const CellShape& shape_;
  StagedTile<T> tile_;
  T* upstream_[kMostTileRows];  // [states, padded]
  T* sums_[kMostTileRows];
};

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
