// What the core knows of a printed cell: its shape, and its steps as functions over rows. generated/ has the cells that
// are built in; a cell of a user's own is compiled alone, by the same pointwise.h, and its table is loaded.
#pragma once

#include "cuts.h"
#include "recurrence.h"

namespace holdfast {

template <class T>
struct ForwardPass;
template <class T>
struct BackwardPass;
template <class T>
struct Frame;

// How many of each a printed cell has, and what it does where.
struct CellShape {
  int gates, states, values, parameters, masks, matrices;
  const int* state_values;  // which value each state is
  bool staged;              // whether it runs stage by stage, all units of a row in each
  bool split;               // whether it reads W x and R h apart
  int numbers, sums, forward_slots, backward_slots, forward_stages, backward_stages;
  unsigned narrow_values, narrow_forward_slots, narrow_backward_slots, narrow_masks;  // bits: those as wide as h
  const Cut *forward_cuts, *backward_cuts;
  int forward_cut_count, backward_cut_count;

  // Of a row: the gradients that are summed over all rows, [H] each: of parameters, and of biases where those are
  // apart.
  constexpr int row_gradients() const { return parameters + (split ? gates : 0); }
};

// Whether an array of a forward cut is as wide as h.
constexpr bool wide_as_h(const CellShape& shape, const Array& array) {
  return array.kind == ArrayKind::kValue  ? shape.narrow_values >> array.index & 1
         : array.kind == ArrayKind::kSlot ? shape.narrow_forward_slots >> array.index & 1
                                          : array.index == 0;
}

// One row b at one step t. Pointers are to unit 0.
template <class T>
struct TileRow {
  const T* old[kMostStates];         // each state before the step
  T* next[kMostStates];              // forward: where it goes
  T* copy;                           // forward: another place for h, or null
  T* carried[kMostStates];           // backward: what reaches each state from later, then from this step
  const T* outside[kMostStates][2];  // backward: what reaches it from outside, or null
  const T* masks[kMostMasks];        // 1 where a mask is true, else 0
  Index place;                       // of its values: t * B + b, t from the first step that is kept
  Index at;                          // of what is given back: t * B + b
  Index order;                       // among all rows of the step
  Index slot;                        // backward: in the chunk
  Index batch;                       // b
  bool restarts;                     // whether the old state is that of `start`
};

// The same of a staged cell. Panels hold block after block, in each [gate][unit].
template <class T>
struct StagedRow {
  Index hidden, width;             // H, W
  Index block_stride;              // from one block of `z` to the next
  const T* z;                      // whole pre-activations, of a cell that is not split
  const T* biases;                 // of one that is: panels, block_columns apart
  Index block_columns;
  const T* old[kMostStates];
  T* values[kMostValues];
  T* slots[kMostSlots];
  const T* const* parameters;
  const T* masks[kMostMasks];
  const T* scalars;
  T* numbers;
  T* sums;
  const T* upstream[kMostStates];  // backward
  T* carried[kMostStates];
  T *gates, *inputs;               // panels of the chunk, chunk_stride apart; the same unless the cell is split
  Index chunk_stride;
  T* row_gradients;                // likewise, row_stride apart
  Index row_stride;
  T* gate_values[kMostGates];      // or null
  T* states_at[kMostStates];       // or null
};

template <class T>
using Stage = void (*)(const StagedRow<T>&);

// Null is what the cell does not need.
template <class T>
struct CellCode {
  void (*forward)(const ForwardPass<T>&, const TileRow<T>* const* rows, int count, const T* z, Index block);
  void (*backward)(const BackwardPass<T>&, const TileRow<T>* const* rows, int count, Index block);
  void (*step)(const ForwardPass<T>&, const Frame<T>&);  // a frame of one row
  const Stage<T>*forward_stages, *backward_stages;
};

struct PrintedCell {
  CellShape shape;
  CellCode<float> of_float;
  CellCode<double> of_double;
};

}  // namespace holdfast
