// The printed steps of fused cells over the rows of a tile: what is loaded, what is stored. Included by the sources of
// a level, and where a user's own cell is compiled.
#pragma once

#include "access.h"
#include "direction.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {

// What a step reads besides gates and states.
template <class Cell, class T>
struct Given {
  Vec<T> parameters[at_least_one(Cell::kParameters)];
  Vec<T> scalars[at_least_one(Cell::kScalars)];
  Mask<T> masks[at_least_one(Cell::kMasks)];

  template <bool WHOLE>
  HOLDFAST_INLINE Given(const Pass<T>& pass, const TileRow<T>& row, Index unit, Access<T, WHOLE> access,
                        unsigned reads_masks) {
    for (int p = 0; p < Cell::kParameters; ++p) parameters[p] = access.get(pass.weights.parameters[p] + unit);
    for (int k = 0; k < Cell::kScalars; ++k) scalars[k] = broadcast<T>(pass.scalars[k]);
    for (int k = 0; k < Cell::kMasks; ++k) {
      if (has_bit(reads_masks, k)) masks[k] = load(row.masks[k] + unit) != Vec<T>{};
    }
  }
};

template <class Cell, class T, bool WHOLE>
HOLDFAST_INLINE void step_forward(const ForwardPass<T>& pass, const TileRow<T>& row, const T* z, Index unit,
                                  Access<T, WHOLE> access) {
  const Given<Cell, T> given(pass, row, unit, access, Cell::kForwardReadsMask);
  Vec<T> gates[Cell::kGates], old[kMostStates] = {}, values[Cell::kValues];
  for (int g = 0; g < Cell::kGates; ++g) gates[g] = load(z + g * kGroup<Cell> * kLanes<T>);
  for (int s = 0; s < Cell::kStates; ++s) {
    if (has_bit(Cell::kForwardReadsOld, s)) old[s] = access.get(row.old[s] + unit);
  }
  Cell::forward(gates, old, given.parameters, given.scalars, given.masks, values);
  for (int s = 0; s < Cell::kStates; ++s) access.put(row.next[s] + unit, values[Cell::kStateValues[s]]);
  if (row.copy) access.put(row.copy + unit, values[Cell::kStateValues[0]]);
  for (int k = 0; k < Cell::kValues; ++k) {
    if (pass.values[k]) access.put(pass.values[k] + row.place * pass.layout.hidden + unit, values[k]);
  }
}

// One block of units of a row, from its pre-activations z [columns].
template <class Cell, class T>
HOLDFAST_INLINE void step_block(const ForwardPass<T>& pass, const TileRow<T>& row, const T* z, Index block) {
  for (int j = 0; j < kGroup<Cell>; ++j, z += kLanes<T>) {
    const Index unit = (block * kGroup<Cell> + j) * kLanes<T>, left = pass.layout.hidden - unit;
    if (left >= kLanes<T>) {
      step_forward<Cell>(pass, row, z, unit, Access<T, true>{kLanes<T>});
    } else if (left > 0) {
      step_forward<Cell>(pass, row, z, unit, Access<T, false>{static_cast<int>(left)});
    }
  }
}

// The same of the rows of a tile, from z [count, columns].
template <class Cell, class T>
void forward_tile(const ForwardPass<T>& pass, const TileRow<T>* const* rows, int count, const T* z, Index block) {
  constexpr int kColumns = Cell::kGates * kGroup<Cell> * kLanes<T>;
  for (int r = 0; r < count; ++r, z += kColumns) step_block<Cell>(pass, *rows[r], z, block);
}

template <class Cell, class T, bool WHOLE>
HOLDFAST_INLINE void step_backward(const BackwardPass<T>& pass, const TileRow<T>& row, T* d_gates, T* d_parameters,
                                   Index unit, Access<T, WHOLE> access) {
  const Given<Cell, T> given(pass, row, unit, access, Cell::kBackwardReadsMask);
  const Index hidden = pass.layout.hidden;
  Vec<T> d_states[kMostStates] = {}, old[kMostStates] = {}, values[Cell::kValues] = {};
  for (int s = 0; s < Cell::kStates; ++s) {
    d_states[s] = access.get(row.carried[s] + unit);
    for (const T* outside : row.outside[s]) {
      if (outside) d_states[s] += access.get(outside + unit);
    }
    if (has_bit(Cell::kBackwardReadsOld, s)) old[s] = access.get(row.old[s] + unit);
  }
  for (int k = 0; k < Cell::kValues; ++k) {
    if (has_bit(Cell::kBackwardReadsValue, k)) values[k] = access.get(pass.values[k] + row.place * hidden + unit);
  }
  Vec<T> gates[Cell::kGates], d_old[kMostStates] = {}, parameters[at_least_one(Cell::kParameters)] = {};
  Vec<T> at[kMostStates] = {};
  Cell::backward(d_states, values, old, given.parameters, given.scalars, given.masks, gates, d_old, parameters, at);
  for (int s = 0; s < Cell::kStates; ++s) {
    access.put(row.carried[s] + unit, d_old[s]);
    if (pass.states_at[s]) access.put(pass.states_at[s] + row.at * hidden + unit, at[s]);
  }
  for (int g = 0; g < Cell::kGates; ++g) {
    put_panel(d_gates + g * kGroup<Cell> * kLanes<T>, gates[g], access);
    if (pass.gate_values[g]) access.put(pass.gate_values[g] + row.at * hidden + unit, gates[g]);
  }
  for (int p = 0; p < Cell::kParameters; ++p) {
    put_panel(d_parameters + p * kGroup<Cell> * kLanes<T>, parameters[p], access);
  }
}

// One block of units of the rows of a tile: the gradients of their gates into the chunk, those of the old states into
// `carried`.
template <class Cell, class T>
void backward_tile(const BackwardPass<T>& pass, const TileRow<T>* const* rows, int count, Index block) {
  constexpr Index kUnits = kGroup<Cell> * kLanes<T>;
  constexpr Index kColumns = Cell::kGates * kUnits, kParameterColumns = Cell::kParameters * kUnits;
  const Index hidden = pass.layout.hidden;
  for (int r = 0; r < count; ++r) {
    const Index slot = block * pass.chunk + rows[r]->slot;
    T* gates = pass.gates + slot * kColumns;
    T* parameters = pass.parameters + slot * kParameterColumns;
    for (int j = 0; j < kGroup<Cell>; ++j, gates += kLanes<T>, parameters += kLanes<T>) {
      const Index unit = block * kUnits + j * kLanes<T>, left = hidden - unit;
      if (left >= kLanes<T>) {
        step_backward<Cell>(pass, *rows[r], gates, parameters, unit, Access<T, true>{kLanes<T>});
      } else if (left > 0) {
        const Access<T, false> access{static_cast<int>(left)};
        step_backward<Cell>(pass, *rows[r], gates, parameters, unit, access);
      } else {
        for (int g = 0; g < Cell::kGates; ++g) store(gates + g * kUnits, Vec<T>{});
        for (int p = 0; p < Cell::kParameters; ++p) store(parameters + p * kUnits, Vec<T>{});
      }
    }
  }
}

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
