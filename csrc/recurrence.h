// The contract of the core: a whole stack of recurrent layers over a whole sequence, forward and backward.
//
// Axes are those of src/holdfast/notation.py: T steps, B rows, I inputs, H units, L layers, D directions, G gates.
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
};

// Rows [T, B, width] whose row (t, b) begins `t * step + b * row` elements after `base`.
template <class T>
struct Strided {
  T* base;
  Index step, row;
};

constexpr int kMostStates = 2;
constexpr int kMostGates = 4;
constexpr int kMostParameters = 4;  // row blocks
constexpr int kMostValues = 12;
constexpr int kMostScalars = 6;
constexpr int kMostMasks = 4;

// One layer and direction. `parameters` are the row blocks [H] of the cell's own vectors, in the printed order.
template <class T>
struct Weights {
  const T* input;      // weight_ih [G*H, I], of a layer after the first [G*H, D*H]
  const T* recurrent;  // weight_hh [G*H, H]
  const T* bias_ih;    // [G*H] or null, both or neither
  const T* bias_hh;
  const T* parameters[kMostParameters];
};

// The same as the levels multiply by it, see layout.h and prepared.h. Passes only read it.
template <class T>
struct Packed {
  T* panels;
  T* biases;
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
  Strided<const T> x;                  // [T, B, I]
  const Weights<T>* weights;           // [L * D]
  const Packed<T>* packed;             // [L * D], for a forward pass that then reads of `weights` only the parameters;
                                       // or null
  const T* state[kMostStates];         // what each state starts from, [L*D, B, H], or null for zeros
  const std::int64_t* lengths;         // [B], 0 to T, or null where every row has T steps
  const bool* reset;                   // [T, B], true where a step begins a new sequence, or null
  const T* start[kMostStates];         // what a reset re-initialises to, [L*D, H], or null for zeros
  std::uint64_t seed;
  Draw draws[kMostMasks];              // the masks of the printed cell, in its order
  Draw entering;                       // dropout of the h that enters weight_hh: one mask for each sequence
  T entering_scale;                    // by which the h that is left is multiplied; 1 where nothing is drawn
  T scalars[kMostScalars];
  const T* const* masks;               // [L - 1] factors [T, B, D*H] on what a layer passes on, or null
  bool residual;                       // each layer after the first adds its input to its output
};

// What a forward pass writes.
template <class T>
struct Outputs {
  T* output;               // [T, B, D*H], zero in padding
  T* state[kMostStates];   // after each row's last step, [L*D, B, H]
  T* values[kMostValues];  // what the backward pass reads, [L, D, T, B, H] each, zero in padding; or all null.
                           // Two names of one value may be given the same array.
};

// What a backward pass reads besides `Inputs` and the values that the forward pass wrote.
template <class T>
struct Upstream {
  const T* values[kMostValues];
  Strided<const T> output;         // [T, B, D*H]; base null where nothing reaches the output
  const T* state[kMostStates];     // [L*D, B, H] or null
  const T* states_at[kMostStates]; // what reaches the kept states at each step, [L, D, T, B, H] or null
};

// The gradients of one layer and direction's weights; all null where none are wanted.
template <class T>
struct WeightGradients {
  T* input;
  T* recurrent;
  T* bias;  // of each of the two biases, [G*H]; null where there are none
  T* parameters[kMostParameters];
};

template <class T>
struct Gradients {
  T* x;                            // [T, B, I], zero in padding; or null
  const WeightGradients<T>* weights;  // [L * D], or null
  T* state[kMostStates];           // [L*D, B, H]
  T* start[kMostStates];           // [L*D, H], or null
  T* gates[kMostGates];            // of the pre-activations, [L, D, T, B, H] each, zero in padding; or all null
  T* states_at[kMostStates];       // all that reaches each state, likewise
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
