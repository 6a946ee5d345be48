// One frame of one row of a fused cell, as in a stream. Included by the sources of a level, and where a user's own cell
// is compiled.
#pragma once

#include "pointwise.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {

// What a row of a frame is to the printed steps. There are no masks, nothing to copy to, and no values to keep.
template <class T>
HOLDFAST_INLINE void place_in_frame(const ForwardPass<T>& pass, const Frame<T>& frame, int states, Index b,
                                    TileRow<T>& row) {
  for (int s = 0; s < states; ++s) {
    row.old[s] = frame.old[s] + b * pass.layout.hidden;
    row.next[s] = frame.next[s] + b * pass.layout.hidden;
  }
  for (int k = 0; k < kMostMasks; ++k) row.masks[k] = pass.zeros;
  row.copy = nullptr;
  row.place = 0;
}

// z = bias + x W + h R of one row and `VECTORS` vectors of a block's columns, in the order of `multiply`.
template <class T, int VECTORS>
HOLDFAST_INLINE void multiply_row(const Layout& layout, const T* x, const T* h, const T* panel, Index columns,
                                  const T* bias, T* z) {
  Vec<T> sums[VECTORS];
  for (int v = 0; v < VECTORS; ++v) sums[v] = load(bias + v * kLanes<T>);
  for (Index k = 0; k < layout.inputs; ++k, panel += columns) {
    const Vec<T> element = broadcast<T>(x[k]);
    for (int v = 0; v < VECTORS; ++v) sums[v] = fma(element, load(panel + v * kLanes<T>), sums[v]);
  }
  for (Index k = 0; k < layout.hidden; ++k, panel += columns) {
    const Vec<T> element = broadcast<T>(h[k]);
    for (int v = 0; v < VECTORS; ++v) sums[v] = fma(element, load(panel + v * kLanes<T>), sums[v]);
  }
  for (int v = 0; v < VECTORS; ++v) store(z + v * kLanes<T>, sums[v]);
}

// A frame of one row, as in a stream: all of it in one function, because a frame may take no longer than a few calls.
template <class Cell, class T>
void step_row(const ForwardPass<T>& pass, const Frame<T>& frame) {
  constexpr int kVectors = Cell::kGates * kGroup<Cell>, kFirst = kVectors < kMostVectors ? kVectors : kMostVectors;
  constexpr Index kColumns = kVectors * kLanes<T>;
  const Layout& layout = pass.layout;
  const Index blocks = layout.blocks(), size = layout.forward_panel();
  alignas(kVectorBytes) T z[kColumns];
  TileRow<T> row;
  place_in_frame(pass, frame, Cell::kStates, 0, row);
  for (Index n = 0; n < blocks; ++n) {
    const Index block = frame.backwards ? blocks - 1 - n : n;
    const T* panel = pass.panels + block * size;
    const T* bias = pass.biases + block * kColumns;
    multiply_row<T, kFirst>(layout, frame.x, frame.old[0], panel, kColumns, bias, z);
    if constexpr (kVectors > kFirst) {
      constexpr Index kRest = kFirst * kLanes<T>;
      multiply_row<T, kVectors - kFirst>(layout, frame.x, frame.old[0], panel + kRest, kColumns, bias + kRest,
                                         z + kRest);
    }
    step_block<Cell>(pass, row, z, block);
  }
}

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
