// What the workers of a level are given: one direction of one layer, with the work split and the scratch memory ready.
// stack.cc fills these in; forward.cc and backward.cc run them. All memory belongs to the call.
#pragma once

#include "layout.h"
#include "recurrence.h"

namespace holdfast {

// How many of each a printed cell has.
struct CellShape {
  int gates, states, values, parameters, masks;
  const int* state_values;  // which value each state is
};

// Which rows are within their length at each step, and how they are split. Slots number all (t, b) that are.
struct Schedule {
  Index steps, batch;
  const std::int64_t* lengths;  // [B] or null
  const bool* begins;           // [T, B], true where a sequence begins within its row's length; or null
  const std::int32_t* began;    // [T, B], the step where the sequence of that step began; or null where all began at 0
  const std::int32_t* rows;     // rows of step t in rising order: rows[first[t]] up to rows[first[t + 1]]
  const Index* first;           // [T + 1]; when all rows have T steps, `rows` is 0 to B - 1 and `first` is all 0

  HOLDFAST_INLINE Index count(Index t) const { return lengths ? first[t + 1] - first[t] : batch; }
  HOLDFAST_INLINE const std::int32_t* at(Index t) const { return rows + (lengths ? first[t] : 0); }
  HOLDFAST_INLINE Index slot(Index t) const { return lengths ? first[t] : t * batch; }
  HOLDFAST_INLINE Index length(Index b) const { return lengths ? lengths[b] : steps; }
};

// The workers of a call. Either each has rows of its own and all units, or all rows and blocks of units of its own.
struct Workers {
  int count;
  bool share_rows;       // whether the units are split, not the rows
  const Index* bounds;   // [count + 1]: worker w has rows bounds[w] up to bounds[w + 1]; of no use if rows are shared
  void (*barrier)(void* team);
  void* team;

  HOLDFAST_INLINE void wait() const {
    if (count > 1) barrier(team);
  }
  // The part of n equal things that is a worker's own: from part(n, w) up to part(n, w + 1).
  HOLDFAST_INLINE Index part(Index n, int worker) const { return n * worker / count; }
};

// What both passes read.
template <class T>
struct Pass {
  int cell;
  Layout layout;
  Schedule schedule;
  Workers workers;
  bool reverse;
  Weights<T> weights;
  Strided<const T> x[2];    // [T, B, width] each; side by side they are the layer's input
  Index widths[2];          // the second is 0 where there is one only
  const T* initial[kMostStates];  // [B, H], or zeros [H] with initial_row 0
  Index initial_row[kMostStates];
  const T* start[kMostStates];  // [H]
  std::uint64_t seed;
  std::uint32_t place;      // layer * 2 + direction: the masks' own
  Draw draws[kMostMasks];
  Draw entering;
  T entering_scale;
  T scalars[kMostScalars];
  const T* zeros;           // at least H padded to blocks
  char* scratch;            // [workers, scratch_bytes]
  Index scratch_bytes;      // of one worker
};

template <class T>
struct ForwardPass : Pass<T> {
  T* panels;                        // forward_size
  T* biases;                        // [gate_columns]
  bool packed;                      // whether both are; else the workers pack them first
  Strided<T> states[kMostStates];   // where each step leaves its state; step 0 where only the last one counts
  T* values[kMostValues];           // [T, B, H] or null; those of states are in `states`
  Strided<T> copy;                  // another place for h, base null for none
  Index ahead_rows;                 // for so many rows the products with x are made at once; 0: step by step
};

// One frame through one direction of one layer: rows of x [B, I] and of states [B, H]. The next h is no other array;
// the other states may be changed in place.
template <class T>
struct Frame {
  Index batch;
  const T* x;
  const T* old[kMostStates];
  T* next[kMostStates];
  bool backwards;  // from the last block to the first one, which gives the same
};

template <class T>
struct BackwardPass : Pass<T> {
  T* panels;                             // backward_size(H)
  T* input_panels;                       // backward_size(I), or null where d_x is not wanted
  const T* values[kMostValues];          // [T, B, H]
  Strided<const T> states[kMostStates];
  Strided<const T> outside[kMostStates][2];  // what reaches a state from outside, base null for nothing
  T* carried[kMostStates];               // [B, H]: begins as what reaches the last state, ends as that of the first
  T* started;                            // [states, B, H] sums of what reaches `start`, or null
  Strided<T> d_x[2];                     // as x; base null where not wanted
  bool add_to_x;                         // another direction wrote there already
  T* gates;                              // [blocks, chunk, columns]: the gates' gradients of some steps
  T* parameters;                         // [blocks, chunk, parameters * units], likewise
  T* left;                               // [column groups of x and h, chunk, kMostTileRows]: what the gates read
  Index chunk;                           // slots
  T* tiles;                              // [blocks, column groups, kMostTileRows, columns], or null
  T* sums;                               // [blocks, columns + parameters * units], or null
  WeightGradients<T> weight_gradients;
  T* gate_values[kMostGates];            // [T, B, H] or null
  T* states_at[kMostStates];             // [T, B, H] or null
};

}  // namespace holdfast
