// What the workers of a level are given: one direction of one layer, with the work split and the scratch memory ready.
// stack.cc fills these in; forward.cc and backward.cc run them. All memory belongs to the call.
#pragma once

#include "cell_code.h"
#include "layout.h"
#include "recurrence.h"

namespace holdfast {

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
  const std::int32_t* owners;  // [B]: the worker of each row; of no use if rows are shared
  const std::int32_t* places;  // [B]: its place among the rows of that worker; among all if rows are shared
  Index most_rows;             // of a worker
  void (*barrier)(void* team);
  void* team;

  HOLDFAST_INLINE void wait() const {
    if (count > 1) barrier(team);
  }
  // The part of n equal things that is a worker's own: from part(n, w) up to part(n, w + 1).
  HOLDFAST_INLINE Index part(Index n, int worker) const { return n * worker / count; }
};

// Steps that run one after the other, by their numbers in the order in which they run.
template <class T>
struct Span {
  Index begin, end;
  Index kept_from;               // the t of the first row of what is kept of them
  const T* before[kMostStates];  // [B, width of the state]: the state before `begin`, where that is not the first step
};

// A matrix of the cell's own, see Layout: `columns` are what it is multiplied by.
struct MatrixLayout {
  Index rows, columns;
  Layout layout;  // {columns, 0, rows, one gate}
};

// What both passes read.
template <class T>
struct Pass {
  const CellShape* shape;
  const CellCode<T>* code;
  Layout layout;
  Schedule schedule;
  Workers workers;
  bool reverse;
  bool bfloat16;
  Weights<T> weights;
  Strided<const T> x[2];    // [T, B, width] each; side by side they are the layer's input
  Index widths[2];          // the second is 0 where there is one only
  Sparse<T> sparse;         // columns null where x is dense; else layout.inputs is 0
  Index table_rows;
  MatrixLayout matrices[kMostMatrices];
  const T* initial[kMostStates];  // [B, its width], or zeros with initial_row 0
  Index initial_row[kMostStates];
  const T* start[kMostStates];  // [its width]
  std::uint64_t seed;
  std::uint32_t place;      // layer * 2 + direction: the masks' own
  Draw draws[kMostMasks];
  Draw entering;
  T entering_scale;
  T scalars[kMostScalars];
  const T* zeros;           // at least H and W padded to blocks
  char* scratch;            // [workers, scratch_bytes]
  Index scratch_bytes;      // of one worker

  HOLDFAST_INLINE Index state_width(int s) const { return s == 0 ? layout.width : layout.hidden; }
  HOLDFAST_INLINE Index value_width(int k) const {
    return shape->narrow_values >> k & 1 ? layout.width : layout.hidden;
  }
  // The t of a step by its number in the order of running, and the other way round.
  HOLDFAST_INLINE Index time(Index n) const { return reverse ? schedule.steps - 1 - n : n; }
};

template <class T>
struct ForwardPass : Pass<T> {
  T* panels;                        // forward_size
  T* biases;                        // [gate_columns]
  T* matrix_panels[kMostMatrices];  // forward_size of each MatrixLayout
  bool packed;                      // whether they are; else the workers pack them first
  Strided<T> states[kMostStates];   // where each step leaves its state; step 0 where only the last one counts
  T* values[kMostValues];           // [T, B, H] or null; those of states are in `states`
  T* numbers;                       // [T, B, numbers] or null
  Strided<T> copy;                  // another place for h, base null for none
  T* checkpoints[kMostStates];      // [ceil(T / every), B, width]: the states before every so many steps; null for none
  Index every;
  Index ahead_rows;                 // for so many rows the products with x are made at once; 0: step by step
  T *z_input, *z;                   // of a staged cell: [blocks, z_rows, columns]; the first is null unless it is split
  Index z_rows;                     // B where rows are shared, else most_rows for each worker
};

// One frame through one direction of one layer: rows of x [B, I] and of states [B, width]. The next h is no other
// array; the other states may be changed in place.
template <class T>
struct Frame {
  Index batch;
  const T* x;
  const T* old[kMostStates];
  T* next[kMostStates];
  bool backwards;  // from the last block to the first one, which gives the same
  char* scratch;   // step_scratch bytes
};

// The gradient of a cell's own matrix, summed over a chunk as that of the weights is.
template <class T>
struct OuterChunk {
  T* right;  // [blocks, chunk, columns]
  T* left;   // [column groups, chunk, kMostTileRows]
  T* tiles;  // [blocks, column groups, kMostTileRows, columns]
};

template <class T>
struct BackwardPass : Pass<T> {
  T* panels;                             // backward_size(W)
  T* input_panels;                       // backward_size(I), or null where d_x is not wanted
  T* matrix_panels[kMostMatrices];       // plain_size of each MatrixLayout
  const T* values[kMostValues];          // [T, B, H]
  const T* numbers;                      // [T, B, numbers]
  Strided<const T> states[kMostStates];
  Strided<const T> outside[kMostStates][2];  // what reaches a state from outside, base null for nothing
  T* carried[kMostStates];               // [B, width]: begins as what reaches the last state, ends as that of the first
  T* started;                            // [states, B, the larger width] sums of what reaches `start`, or null
  Strided<T> d_x[2];                     // as x; base null where not wanted
  bool add_to_x;                         // another direction wrote there already
  T* gates;                              // [blocks, chunk, columns]: the gates' gradients of some steps
  T* inputs;                             // the same of W x; `gates` unless the cell is split
  T* parameters;                         // [blocks, chunk, row_gradients * units], likewise
  T* left;                               // [column groups of x and h, chunk, kMostTileRows]: what the gates read
  void *rounded_gates, *rounded_inputs;  // as gates and inputs, in bfloat16; null where products are not
  Index chunk;                           // slots
  T* tiles;                              // [blocks, column groups, kMostTileRows, columns], or null
  T* sums;                               // [blocks, columns + row_gradients * units], or null
  OuterChunk<T> outers[kMostOuters];    // in the order of the backward cuts; null after the last one
  WeightGradients<T> weight_gradients;
  T* gate_values[kMostGates];            // [T, B, H] or null
  T* states_at[kMostStates];             // [T, B, width] or null
  const ForwardPass<T>* rebuild;         // what gives the values of a span again; null where all are kept
  const T* checkpoints[kMostStates];     // as there
};

}  // namespace holdfast
