// The table of a printed cell, from its struct. Included by the sources of a level, and where a user's own cell is
// compiled.
#pragma once

#include "pointwise.h"
#include "stages.h"
#include "step.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {

template <class Cell>
constexpr CellShape fused_shape() {
  static_assert(Cell::kGates <= kMostGates && Cell::kStates <= kMostStates && Cell::kValues <= kMostValues);
  static_assert(Cell::kParameters <= kMostParameters && Cell::kScalars <= kMostScalars && Cell::kMasks <= kMostMasks);
  CellShape shape{};
  shape.gates = Cell::kGates;
  shape.states = Cell::kStates;
  shape.values = Cell::kValues;
  shape.parameters = Cell::kParameters;
  shape.masks = Cell::kMasks;
  shape.state_values = Cell::kStateValues;
  return shape;
}

template <class Cell>
constexpr int count_outers() {
  int count = 0;
  for (int n = 0; n < Cell::kBackwardCutCount; ++n) count += Cell::kBackwardCuts[n].kind == CutKind::kOuter ? 1 : 0;
  return count;
}

template <class Cell>
constexpr CellShape staged_shape() {
  static_assert(Cell::kMatrices <= kMostMatrices && count_outers<Cell>() <= kMostOuters);
  static_assert(Cell::kNumbers <= kMostNumbers && Cell::kSums <= kMostSums);
  static_assert(Cell::kForwardSlots <= kMostSlots && Cell::kBackwardSlots <= kMostSlots);
  CellShape shape = fused_shape<Cell>();
  shape.matrices = Cell::kMatrices;
  shape.staged = true;
  shape.split = Cell::kSplit;
  shape.numbers = Cell::kNumbers;
  shape.sums = Cell::kSums;
  shape.forward_slots = Cell::kForwardSlots;
  shape.backward_slots = Cell::kBackwardSlots;
  shape.forward_stages = Cell::kForwardStages;
  shape.backward_stages = Cell::kBackwardStages;
  shape.narrow_values = Cell::kNarrowValues;
  shape.narrow_forward_slots = Cell::kNarrowForwardSlots;
  shape.narrow_backward_slots = Cell::kNarrowBackwardSlots;
  shape.narrow_masks = Cell::kNarrowMasks;
  shape.forward_cuts = Cell::kForwardCuts;
  shape.backward_cuts = Cell::kBackwardCuts;
  shape.forward_cut_count = Cell::kForwardCutCount;
  shape.backward_cut_count = Cell::kBackwardCutCount;
  return shape;
}

template <class Cell, class T>
constexpr CellCode<T> fused_code() {
  return {forward_tile<Cell, T>, backward_tile<Cell, T>, step_row<Cell, T>, nullptr, nullptr};
}

template <class Cell, class T>
constexpr CellCode<T> staged_code() {
  return {nullptr, nullptr, nullptr, ForwardStages<Cell, T, Cell::kForwardStages>::list,
          BackwardStages<Cell, T, Cell::kBackwardStages>::list};
}

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast

#define HOLDFAST_FUSED_CELL(index, cell) {fused_shape<cell>(), fused_code<cell, float>(), fused_code<cell, double>()},
#define HOLDFAST_STAGED_CELL(index, cell) \
  {staged_shape<cell>(), staged_code<cell, float>(), staged_code<cell, double>()},
