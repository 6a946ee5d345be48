// What both passes of a staged cell share: the rows of a tile with their scratch memory, and the cuts between the
// stages. Included by the sources of a level only.
#pragma once

#include "access.h"
#include "direction.h"
#include "product.h"
#include "rows.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {

constexpr double kNormaliseEpsilon = 1e-5;

template <class T>
struct StagedTile {
  const Pass<T>& pass;
  const CellShape& shape;
  unsigned narrow_slots;
  Index padded;  // the larger of H and W, up to whole blocks
  int count = 0;
  StagedRow<T> rows[kMostTileRows];
  T* slots[kMostTileRows];     // [slots, padded]
  T* products;                 // [cuts, kMostTileRows, matrix_columns]
  Index matrix_columns = 0;    // of what a product with a matrix gives, up to whole panels

  StagedTile(const Pass<T>& own, bool backward, Arena& arena)
      : pass(own),
        shape(*own.shape),
        narrow_slots(backward ? shape.narrow_backward_slots : shape.narrow_forward_slots) {
    const Layout& layout = pass.layout;
    padded = round_up(layout.width > layout.padded() ? layout.width : layout.padded(), kAlignment);
    const int slot_count = backward ? shape.backward_slots : shape.forward_slots;
    for (T*& own_slots : slots) own_slots = arena.take<T>(shape.staged ? slot_count * padded : 0);
    for (int m = 0; m < shape.matrices; ++m) {
      const Index rows_of = round_up(pass.matrices[m].rows, kAlignment);
      const Index columns_of = round_up(pass.matrices[m].columns, kAlignment);
      const Index most = rows_of > columns_of ? rows_of : columns_of;
      if (most > matrix_columns) matrix_columns = most;
    }
    const int cuts = backward ? shape.backward_cut_count : shape.forward_cut_count;
    products = arena.take<T>(matrix_columns * kMostTileRows * cuts);
  }

  // What does not change from row to row.
  void set_up(StagedRow<T>& row, int r) const {
    row.hidden = pass.layout.hidden;
    row.width = pass.layout.width;
    row.parameters = pass.weights.parameters;
    row.scalars = pass.scalars;
    for (int k = 0; k < kMostSlots; ++k) row.slots[k] = slots[r] + k * padded;
  }

  Index width_of(const Array& array) const {
    const bool narrow = array.kind == ArrayKind::kValue  ? shape.narrow_values >> array.index & 1
                        : array.kind == ArrayKind::kSlot ? narrow_slots >> array.index & 1
                                                         : array.index == 0;
    return narrow ? pass.layout.width : pass.layout.hidden;
  }

  static const T* at(const StagedRow<T>& row, const Array& array) {
    switch (array.kind) {
      case ArrayKind::kValue: return row.values[array.index];
      case ArrayKind::kSlot: return row.slots[array.index];
      case ArrayKind::kOld: return row.old[array.index];
      case ArrayKind::kUpstream: return row.upstream[array.index];
    }
    return nullptr;
  }

  Index units_of(const Cut& cut) const {
    Index units = 0;
    for (int k = 0; k < cut.in_count; ++k) units += width_of(cut.in[k]);
    return units;
  }

  // In two passes: the sum of squares of what is far from 0 would lose its digits.
  void normalise(const StagedRow<T>& row, const Cut& cut) const {
    const T units = static_cast<T>(units_of(cut));
    const T mean = sum_over(row, cut, [](Vec<T> value) { return value; }) / units;
    const Vec<T> centre = broadcast<T>(mean);
    const T squares = sum_over(row, cut, [&](Vec<T> value) { return (value - centre) * (value - centre); });
    row.numbers[cut.target] = mean;
    const Vec<T> variance = broadcast<T>(squares / units + static_cast<T>(kNormaliseEpsilon));
    row.numbers[cut.target + 1] = T{1} / HOLDFAST_LEVEL::sqrt(variance)[0];
  }

  void mean(const StagedRow<T>& row, const Cut& cut) const {
    row.sums[cut.target] /= static_cast<T>(units_of(cut));
  }

  // What the arrays of `cut.in`, side by side, give with the panels of a matrix, `length` rows by `width` columns in
  // all; the arrays of `cut.out` are parts of the result.
  void multiply(const Cut& cut, int place, const T* panels, Index length, Index width) {
    const Index columns = Index{kMostVectors} * kLanes<T>;
    T* out = products + place * kMostTileRows * matrix_columns;
    Run<T> runs[kMostArrays];
    for (int k = 0; k < cut.in_count; ++k) {
      const T* parts[kMostTileRows];
      for (int r = 0; r < count; ++r) parts[r] = at(rows[r], cut.in[k]);
      runs[k] = run_of(parts, count, width_of(cut.in[k]));
    }
    for (Index panel = 0; panel * columns < width; ++panel) {
      const Product<T> product = {runs,    cut.in_count, panels + panel * length * columns, columns,
                                  nullptr, out + panel * columns, matrix_columns, 0};
      multiply_panel(product, count, kMostVectors);
    }
    for (int r = 0; r < count; ++r) {
      T* part = out + r * matrix_columns;
      for (int k = 0; k < cut.out_count; ++k) {
        const Array& array = cut.out[k];
        if (array.kind == ArrayKind::kSlot) {
          rows[r].slots[array.index] = part;
        } else {
          __builtin_memcpy(rows[r].values[array.index], part,
                           static_cast<std::size_t>(width_of(array)) * sizeof(T));
        }
        part += width_of(array);
      }
    }
  }

 private:
  template <class Value>
  T sum_over(const StagedRow<T>& row, const Cut& cut, Value value) const {
    Vec<T> sum = {};
    for (int k = 0; k < cut.in_count; ++k) {
      const T* from = at(row, cut.in[k]);
      const Index width = width_of(cut.in[k]);
      Index unit = 0;
      for (; unit + kLanes<T> <= width; unit += kLanes<T>) sum += value(load(from + unit));
      if (unit < width) {
        T lanes[kLanes<T>];
        const int left = static_cast<int>(width - unit);
        store(lanes, value(load(from + unit, left)));
        sum += load(lanes, left);
      }
    }
    return sum_of<T>(sum);
  }
};

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
