// The stages of a staged cell forward, for the rows of a tile whose products are made. Included by the sources of a
// level only.
#pragma once

#include "staged.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {

// Where the products of a row lie: W x apart of a cell that is split, else all in `z`.
template <class T>
struct RowProducts {
  const T *input, *z;
  Index input_stride, stride;  // from one block to the next
};

template <class T>
class StagedForward {
 public:
  StagedForward(const ForwardPass<T>& pass, Arena& arena)
      : pass_(pass), shape_(*pass.shape), tile_(pass, false, arena) {
    for (int r = 0; r < kMostTileRows; ++r) {
      values_[r] = arena.take<T>(shape_.staged ? shape_.values * tile_.padded : 0);
      numbers_[r] = arena.take<T>(shape_.numbers);
    }
  }

  // Leaves the next states, what is kept, and the copy of h.
  void run(const TileRow<T>* const* rows, int count, const RowProducts<T>* products) {
    tile_.count = count;
    for (int r = 0; r < count; ++r) set_row(r, *rows[r], products[r]);
    cut_after(-1);
    for (int stage = 0; stage < shape_.forward_stages; ++stage) {
      for (int r = 0; r < count; ++r) pass_.code->forward_stages[stage](tile_.rows[r]);
      cut_after(stage);
    }
    for (int r = 0; r < count; ++r) finish(tile_.rows[r], *rows[r]);
  }

 private:
  // A state may be written at once where its old value lies elsewhere.
  bool written_at_once(int s) const { return pass_.states[s].step != 0; }

  void set_row(int r, const TileRow<T>& from, const RowProducts<T>& products) {
    StagedRow<T>& row = tile_.rows[r];
    tile_.set_up(row, r);
    row.z = products.z;
    row.block_stride = products.stride;
    row.biases = pass_.biases;
    row.block_columns = pass_.layout.columns();
    for (int s = 0; s < shape_.states; ++s) row.old[s] = from.old[s];
    for (int k = 0; k < shape_.masks; ++k) row.masks[k] = from.masks[k];
    for (int k = 0; k < shape_.values; ++k) {
      row.values[k] = pass_.values[k] ? pass_.values[k] + from.place * pass_.value_width(k)
                                      : values_[r] + k * tile_.padded;
    }
    for (int s = 0; s < shape_.states; ++s) {
      if (written_at_once(s)) row.values[shape_.state_values[s]] = from.next[s];
    }
    row.numbers = pass_.numbers ? pass_.numbers + from.place * shape_.numbers : numbers_[r];
    if (shape_.split) give_parts(row, products);
  }

  // W x and R h, from panels into rows.
  void give_parts(const StagedRow<T>& row, const RowProducts<T>& products) const {
    const Layout& layout = pass_.layout;
    const int first = shape_.values - 2 * shape_.gates;
    for (int g = 0; g < shape_.gates; ++g) {
      copy_gate(layout, products.input, products.input_stride, g, row.values[first + 2 * g]);
      copy_gate(layout, products.z, products.stride, g, row.values[first + 2 * g + 1]);
    }
  }

  static void copy_gate(const Layout& layout, const T* panel, Index stride, int gate, T* to) {
    const Index units = layout.units();
    for (Index block = 0, unit = 0; unit < layout.hidden; ++block, unit += units) {
      const T* from = panel + block * stride + gate * units;
      for (Index u = 0; u < units && unit + u < layout.hidden; u += kLanes<T>) {
        const Index left = layout.hidden - unit - u;
        if (left >= kLanes<T>) {
          store(to + unit + u, load(from + u));
        } else {
          store(to + unit + u, load(from + u), static_cast<int>(left));
        }
      }
    }
  }

  void cut_after(int stage) {
    for (int n = 0; n < shape_.forward_cut_count; ++n) {
      const Cut& cut = shape_.forward_cuts[n];
      if (cut.after != stage) continue;
      if (cut.kind == CutKind::kNormalise) {
        for (int r = 0; r < tile_.count; ++r) tile_.normalise(tile_.rows[r], cut);
      } else {
        const MatrixLayout& matrix = pass_.matrices[cut.target];
        tile_.multiply(cut, n, pass_.matrix_panels[cut.target], matrix.columns, matrix.rows);
      }
    }
  }

  void finish(const StagedRow<T>& row, const TileRow<T>& to) const {
    for (int s = 0; s < shape_.states; ++s) {
      const T* from = row.values[shape_.state_values[s]];
      const std::size_t bytes = static_cast<std::size_t>(pass_.state_width(s)) * sizeof(T);
      if (!written_at_once(s)) __builtin_memcpy(to.next[s], from, bytes);
      if (s == 0 && to.copy) __builtin_memcpy(to.copy, from, bytes);
    }
  }

  const ForwardPass<T>& pass_;
  const CellShape& shape_;
  StagedTile<T> tile_;
  T* values_[kMostTileRows];  // [values, padded], where they are not kept
  T* numbers_[kMostTileRows];
};

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
