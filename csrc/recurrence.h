// The contract of the core: a whole stack of recurrent layers over a whole sequence, forward and backward.
//
// Axes are those of src/holdfast/notation.py: T steps, B rows, I inputs, H units, L layers, D directions, G gates. W is
// the width of h: P with a projection, else H. The first state, h, and its value are W wide, all others H.
// T is float or double. All arrays are dense with the last axis innermost unless `Strided` says otherwise; the
// caller owns all of them, and they live until the call returns. What is `const` is only read. Arrays that are
// written overlap nothing else. A pointer may be null only where it says so. Nothing that lies in padding is read.
#pragma once

#include <cstddef>
#include <cstdint>

namespace holdfast {

using Index = std::ptrdiff_t;

struct Sizes {
  Index steps, batch, inputs, hidden;  // T, B, I, H; each may be 0 but for hidden
  int layers, directions;              // L, D
  Index projected;                     // P; 0 where h is not projected

  Index width() const { return projected ? projected : hidden; }  // W
};

// Rows [T, B, width] whose row (t, b) begins `t * step + b * row` elements after `base`.
template <class T>
struct Strided {
  T* base;
  Index step, row;
};

// What a printed cell may have at most; src/holdfast/cells/core.py refuses what has more.
constexpr int kMostStates = 6;
constexpr int kMostGates = 8;
constexpr int kMostParameters = 24;  // row blocks
constexpr int kMostValues = 32;      // with the two parts of each gate, where W x and R h are read apart
constexpr int kMostScalars = 8;
constexpr int kMostMasks = 4;
constexpr int kMostMatrices = 4;  // besides weight_ih and weight_hh
constexpr int kMostOuters = 8;    // uses of those matrices
constexpr int kMostNumbers = 16;  // of a row
constexpr int kMostSums = 16;     // over a row
constexpr int kMostSlots = 32;

// One layer and direction. `parameters` are the row blocks [H] of the cell's own vectors, in the printed order.
template <class T>
struct Weights {
  const T* input;      // weight_ih [G*H, I], of a layer after the first [G*H, D*W]; where x is sparse a table [I, G*H]
  const T* recurrent;  // weight_hh [G*H, W]
  const T* bias_ih;    // [G*H] or null, both or neither
  const T* bias_hh;
  const T* parameters[kMostParameters];
  const T* matrices[kMostMatrices];  // the cell's own, and weight_hr [W, H] as the last one, row by row
};

// The same as the levels multiply by it, see layout.h and prepared.h. Passes only read it.
template <class T>
struct Packed {
  T* panels;
  T* biases;
  T* matrices[kMostMatrices];
};

// x as indices: the input of a step is the sum of rows of a table, each times its factor.
template <class T>
struct Sparse {
  const std::int64_t* first;    // [T * B + 1]: those of step t and row b go from first[t * B + b] up to the next one's;
                                // or null where each has one
  const std::int64_t* columns;  // rows of the table, from 0 up to I; null where x is dense
  const T* factors;             // or null for ones
};

// A random mask, see src/holdfast/kernels/masks.py: true where the word that Philox4x32-10 draws is less than
// `threshold`, which is round(probability * 2^32); 0 draws nothing.
struct Draw {
  std::uint32_t stream;
  std::uint64_t threshold;
};

// What a forward pass reads. `cell` is the place of the printed cell in generated/cells.h, which also says the order
// of scalars, masks, values and states.
template <class T>
struct Inputs {
  int cell;
  int threads;  // how many may work on the call at once; the results have the same bits whatever it is
  Sizes sizes;
  Strided<const T> x;                  // [T, B, I]; base null where it is sparse
  Sparse<T> sparse;
  const Weights<T>* weights;           // [L * D]
  const Packed<T>* packed;             // [L * D], for a forward pass that then reads of `weights` only the parameters;
                                       // or null
  const T* state[kMostStates];         // what each state starts from, [L*D, B, its width], or null for zeros
  const std::int64_t* lengths;         // [B], 0 to T, or null where every row has T steps
  const bool* reset;                   // [T, B], true where a step begins a new sequence, or null
  const T* start[kMostStates];         // what a reset re-initialises to, [L*D, its width], or null for zeros
  std::uint64_t seed;
  Draw draws[kMostMasks];              // the masks of the printed cell, in its order
  Draw entering;                       // dropout of the h that enters weight_hh: one mask for each sequence
  T entering_scale;                    // by which the h that is left is multiplied; 1 where nothing is drawn
  T scalars[kMostScalars];
  const T* const* masks;               // [L - 1] factors [T, B, D*W] on what a layer passes on, or null
  bool residual;                       // each layer after the first adds its input to its output
  bool bfloat16;                       // the operands of products are rounded to bfloat16; sums are not
  Index recompute;                     // only every so many steps the states are kept; 0 where all values are
};

// What a forward pass writes.
template <class T>
struct Outputs {
  T* output;               // [T, B, D*W], zero in padding
  T* state[kMostStates];   // after each row's last step, [L*D, B, its width]
  T* values[kMostValues];  // what the backward pass reads, [L, D, T, B, H] each (that of h is W wide), zero in padding;
                           // or all null. Two names of one value may be given the same array.
  T* numbers;              // [L, D, T, B, numbers of a row], likewise
  // In the place of both where the call recomputes:
  T* checkpoints[kMostStates];  // [L, D, ceil(T / recompute), B, its width]: entry n is the state before the step that
                                // runs as number n * recompute; entry 0 is not written
  T* passed;                    // [L - 1, T, B, D*W]: what each layer but the last one gave, zero in padding
};

// What a backward pass reads besides `Inputs` and the values that the forward pass wrote.
template <class T>
struct Upstream {
  const T* values[kMostValues];
  const T* numbers;
  const T* checkpoints[kMostStates];
  const T* passed;
  Strided<const T> output;         // [T, B, D*W]; base null where nothing reaches the output
  const T* state[kMostStates];     // [L*D, B, its width] or null
  const T* states_at[kMostStates]; // what reaches the kept states at each step, [L, D, T, B, its width] or null
};

// The gradients of one layer and direction's weights; all null where none are wanted.
template <class T>
struct WeightGradients {
  T* input;
  T* recurrent;
  T* bias;  // of each of the two biases, [G*H]; null where there are none
  T* parameters[kMostParameters];
  T* matrices[kMostMatrices];
};

template <class T>
struct Gradients {
  T* x;                            // [T, B, I], zero in padding; or null, as where x is sparse
  const WeightGradients<T>* weights;  // [L * D], or null
  T* state[kMostStates];           // [L*D, B, its width]
  T* start[kMostStates];           // [L*D, its width], or null
  T* gates[kMostGates];            // of the pre-activations, [L, D, T, B, H] each, zero in padding; or all null
  T* states_at[kMostStates];       // all that reaches each state, [L, D, T, B, its width], likewise
};

struct Kernels;  // of one level of instruction sets: kernels.h

// Both may be called from any thread, at once too. They throw std::bad_alloc; what was
// written by then is of no use.
template <class T>
void forward(const Kernels& kernels, const Inputs<T>& inputs, const Outputs<T>& outputs);
template <class T>
void backward(const Kernels& kernels, const Inputs<T>& inputs, const Upstream<T>& upstream,
              const Gradients<T>& gradients);

extern template void forward(const Kernels&, const Inputs<float>&, const Outputs<float>&);
extern template void forward(const Kernels&, const Inputs<double>&, const Outputs<double>&);
extern template void backward(const Kernels&, const Inputs<float>&, const Upstream<float>&, const Gradients<float>&);
extern template void backward(const Kernels&, const Inputs<double>&, const Upstream<double>&, const Gradients<double>&);

}  // namespace holdfast
