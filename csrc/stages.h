// The printed stages of staged cells over the units of a row. Included by the sources of a level, and where a user's
// own cell is compiled.
#pragma once

#include "access.h"
#include "cell_code.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {

// What a forward stage sees: one vector of units of one row.
template <class Cell, class T, bool WHOLE>
struct ForwardAt {
  const StagedRow<T>& row;
  Index unit, block, within;  // within: the place of the vector in each gate of its block
  Access<T, WHOLE> access;

  HOLDFAST_INLINE static Index of_gate(int g) { return Index{g} * kGroup<Cell> * kLanes<T>; }
  HOLDFAST_INLINE Vec<T> gate(int g) const { return load(row.z + block * row.block_stride + of_gate(g) + within); }
  HOLDFAST_INLINE Vec<T> bias(int g) const {
    return load(row.biases + block * row.block_columns + of_gate(g) + within);
  }
  HOLDFAST_INLINE Vec<T> old(int s) const { return access.get(row.old[s] + unit); }
  HOLDFAST_INLINE Vec<T> parameter(int p) const { return access.get(row.parameters[p] + unit); }
  HOLDFAST_INLINE Vec<T> scalar(int k) const { return broadcast<T>(row.scalars[k]); }
  HOLDFAST_INLINE Mask<T> mask(int k) const { return access.get(row.masks[k] + unit) != Vec<T>{}; }
  HOLDFAST_INLINE Vec<T> value(int k) const { return access.get(row.values[k] + unit); }
  HOLDFAST_INLINE Vec<T> slot(int k) const { return access.get(row.slots[k] + unit); }
  HOLDFAST_INLINE Vec<T> number(int n) const { return broadcast<T>(row.numbers[n]); }
  HOLDFAST_INLINE void set_value(int k, Vec<T> value) const { access.put(row.values[k] + unit, value); }
  HOLDFAST_INLINE void set_slot(int k, Vec<T> value) const { access.put(row.slots[k] + unit, value); }
};

// What a backward stage sees.
template <class Cell, class T, bool WHOLE>
struct BackwardAt {
  const StagedRow<T>& row;
  Index unit, block, within;
  Access<T, WHOLE> access;
  Vec<T>* sums;

  HOLDFAST_INLINE static Index of_gate(int g) { return Index{g} * kGroup<Cell> * kLanes<T>; }
  HOLDFAST_INLINE Vec<T> upstream(int s) const { return access.get(row.upstream[s] + unit); }
  HOLDFAST_INLINE Vec<T> value(int k) const { return access.get(row.values[k] + unit); }
  HOLDFAST_INLINE Vec<T> old(int s) const { return access.get(row.old[s] + unit); }
  HOLDFAST_INLINE Vec<T> parameter(int p) const { return access.get(row.parameters[p] + unit); }
  HOLDFAST_INLINE Vec<T> scalar(int k) const { return broadcast<T>(row.scalars[k]); }
  HOLDFAST_INLINE Mask<T> mask(int k) const { return access.get(row.masks[k] + unit) != Vec<T>{}; }
  HOLDFAST_INLINE Vec<T> slot(int k) const { return access.get(row.slots[k] + unit); }
  HOLDFAST_INLINE Vec<T> number(int n) const { return broadcast<T>(row.numbers[n]); }
  HOLDFAST_INLINE Vec<T> sum(int j) const { return broadcast<T>(row.sums[j]); }
  HOLDFAST_INLINE void set_slot(int k, Vec<T> value) const { access.put(row.slots[k] + unit, value); }
  HOLDFAST_INLINE void add(int j, Vec<T> value) const {
    if constexpr (!WHOLE) {
      T lanes[kLanes<T>];
      store(lanes, value);
      value = access.get(lanes);
    }
    sums[j] += value;
  }
  HOLDFAST_INLINE void set_gate(int g, Vec<T> value) const {
    set_recurrent(g, value);
    show_gate(g, value);
  }
  HOLDFAST_INLINE void set_input(int g, Vec<T> value) const {
    put_panel(row.inputs + block * row.chunk_stride + of_gate(g) + within, value, access);
  }
  HOLDFAST_INLINE void set_recurrent(int g, Vec<T> value) const {
    put_panel(row.gates + block * row.chunk_stride + of_gate(g) + within, value, access);
  }
  HOLDFAST_INLINE void set_bias(int g, Vec<T> value) const {
    set_parameter(Cell::kParameters + g, value);
    show_gate(g, value);
  }
  HOLDFAST_INLINE void set_old(int s, Vec<T> value) const { access.put(row.carried[s] + unit, value); }
  HOLDFAST_INLINE void set_parameter(int p, Vec<T> value) const {
    put_panel(row.row_gradients + block * row.row_stride + of_gate(p) + within, value, access);
  }
  HOLDFAST_INLINE void set_tap(int s, Vec<T> value) const {
    if (row.states_at[s]) access.put(row.states_at[s] + unit, value);
  }

 private:
  HOLDFAST_INLINE void show_gate(int g, Vec<T> value) const {
    if (row.gate_values[g]) access.put(row.gate_values[g] + unit, value);
  }
};

template <class Cell, int STAGE, class T>
void forward_stage(const StagedRow<T>& row) {
  const Index width = Cell::kForwardNarrow[STAGE] ? row.width : row.hidden;
  for (Index n = 0, unit = 0; unit < width; ++n, unit += kLanes<T>) {
    const Index block = n / kGroup<Cell>, within = n % kGroup<Cell> * kLanes<T>, left = width - unit;
    if (left >= kLanes<T>) {
      const ForwardAt<Cell, T, true> at = {row, unit, block, within, {kLanes<T>}};
      Cell::template forward<STAGE, Vec<T>>(at);
    } else {
      const ForwardAt<Cell, T, false> at = {row, unit, block, within, {static_cast<int>(left)}};
      Cell::template forward<STAGE, Vec<T>>(at);
    }
  }
}

template <class Cell, int STAGE, class T>
void backward_stage(const StagedRow<T>& row) {
  const Index width = Cell::kBackwardNarrow[STAGE] ? row.width : row.hidden;
  Vec<T> sums[at_least_one(Cell::kSums)] = {};
  for (Index n = 0, unit = 0; unit < width; ++n, unit += kLanes<T>) {
    const Index block = n / kGroup<Cell>, within = n % kGroup<Cell> * kLanes<T>, left = width - unit;
    if (left >= kLanes<T>) {
      const BackwardAt<Cell, T, true> at = {row, unit, block, within, {kLanes<T>}, sums};
      Cell::template backward<STAGE, Vec<T>>(at);
    } else {
      const BackwardAt<Cell, T, false> at = {row, unit, block, within, {static_cast<int>(left)}, sums};
      Cell::template backward<STAGE, Vec<T>>(at);
    }
  }
  for (int j = 0; j < Cell::kSums; ++j) row.sums[j] += sum_of<T>(sums[j]);
}

// The stages of a cell, one after the other.
template <class Cell, class T, int NEXT, int... STAGES>
struct ForwardStages : ForwardStages<Cell, T, NEXT - 1, NEXT - 1, STAGES...> {};
template <class Cell, class T, int... STAGES>
struct ForwardStages<Cell, T, 0, STAGES...> {
  static constexpr Stage<T> list[] = {forward_stage<Cell, STAGES, T>...};
};

template <class Cell, class T, int NEXT, int... STAGES>
struct BackwardStages : BackwardStages<Cell, T, NEXT - 1, NEXT - 1, STAGES...> {};
template <class Cell, class T, int... STAGES>
struct BackwardStages<Cell, T, 0, STAGES...> {
  static constexpr Stage<T> list[] = {backward_stage<Cell, STAGES, T>...};
};

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
