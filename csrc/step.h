// One frame through one direction of one layer. Included by the sources of a level only.
#pragma once

#include "rows.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {

// What a row of a frame is to the printed steps. There are no masks, nothing to copy to, and no values to keep.
template <class T>
HOLDFAST_INLINE void place_in_frame(const ForwardPass<T>& pass, const Frame<T>& frame, Index b, TileRow<T>& row) {
  for (int s = 0; s < kMostStates; ++s) {
    row.old[s] = frame.old[s] + b * pass.layout.hidden;
    row.next[s] = frame.next[s] + b * pass.layout.hidden;
  }
  for (int k = 0; k < kMostMasks; ++k) row.masks[k] = pass.zeros;
  row.copy = nullptr;
  row.place = 0;
}

// z = bias + x W + h R of one row and one block, in the order of `multiply`.
template <class T, int VECTORS>
HOLDFAST_INLINE void multiply_row(const Layout& layout, const T* x, const T* h, const T* panel, const T* bias, T* z) {
  constexpr int kColumns = VECTORS * kLanes<T>;
  Vec<T> sums[VECTORS];
  for (int v = 0; v < VECTORS; ++v) sums[v] = load(bias + v * kLanes<T>);
  for (Index k = 0; k < layout.inputs; ++k, panel += kColumns) {
    const Vec<T> element = broadcast<T>(x[k]);
    for (int v = 0; v < VECTORS; ++v) sums[v] = fma(element, load(panel + v * kLanes<T>), sums[v]);
  }
  for (Index k = 0; k < layout.hidden; ++k, panel += kColumns) {
    const Vec<T> element = broadcast<T>(h[k]);
    for (int v = 0; v < VECTORS; ++v) sums[v] = fma(element, load(panel + v * kLanes<T>), sums[v]);
  }
  for (int v = 0; v < VECTORS; ++v) store(z + v * kLanes<T>, sums[v]);
}

// A frame of one row, as in a stream: all of it in one function, because a frame may take no longer than a few calls.
template <class Cell, class T>
void step_row(const ForwardPass<T>& pass, const Frame<T>& frame) {
  constexpr int kVectors = Cell::kGates * kGroup<Cell>;
  const Layout& layout = pass.layout;
  const Index blocks = layout.blocks(), size = layout.forward_panel();
  alignas(kVectorBytes) T z[kVectors * kLanes<T>];
  TileRow<T> row;
  place_in_frame(pass, frame, 0, row);
  for (Index n = 0; n < blocks; ++n) {
    const Index block = frame.backwards ? blocks - 1 - n : n;
    multiply_row<T, kVectors>(layout, frame.x, frame.old[0], pass.panels + block * size,
                              pass.biases + block * kVectors * kLanes<T>, z);
    step_block<Cell>(pass, row, z, block);
  }
}

// Tile by tile, so that what is needed fits the stack; with more than one tile, each element of a panel that is read
// has work enough.
template <class T>
void step_tiles(const ForwardPass<T>& pass, const Frame<T>& frame) {
  const Layout& layout = pass.layout;
  const Index blocks = layout.blocks(), tiles = ceil_div(frame.batch, kTileRows);
  alignas(kVectorBytes) T z[kMostTileRows * kMostVectors * kLanes<T>];
  for (Index tile = 0, first = 0; tile < tiles; ++tile) {
    const Index last = frame.batch * (tile + 1) / tiles;
    const int count = static_cast<int>(last - first);
    TileRow<T> rows[kMostTileRows];
    const TileRow<T>* pointers[kMostTileRows];
    const T *x[kMostTileRows], *h[kMostTileRows], *begin[kMostTileRows];
    for (int r = 0; r < count; ++r) {
      place_in_frame(pass, frame, first + r, rows[r]);
      pointers[r] = rows + r;
      x[r] = frame.x + (first + r) * layout.inputs;
      h[r] = rows[r].old[0];
    }
    const Run<T> runs[2] = {run_of(x, count, layout.inputs), run_of(h, count, layout.hidden)};
    for (Index n = 0; n < blocks; ++n) {
      const Index block = frame.backwards ? blocks - 1 - n : n;
      for (int r = 0; r < count; ++r) begin[r] = pass.biases + block * layout.columns();
      const T* panel = pass.panels + block * layout.forward_panel();
      kMultiply<T>[count - 1][layout.vectors() - 1]({runs, 2, panel, begin, z, layout.columns()});
      kPointwise<T>[pass.cell].forward(pass, pointers, count, z, block);
    }
    first = last;
  }
}

template <class T>
using StepRow = void (*)(const ForwardPass<T>&, const Frame<T>&);

#define HOLDFAST_STEP_ROW(index, cell) step_row<cell, T>,

// In the order of holdfast.cells.core.PRINTED.
template <class T>
constexpr StepRow<T> kStepRow[] = {HOLDFAST_CELLS(HOLDFAST_STEP_ROW)};
#undef HOLDFAST_STEP_ROW

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
