// What every level of instruction sets offers. level.cc fills one such table for each level it is compiled for.
#pragma once

#include <cstddef>

#include "direction.h"

namespace holdfast {

// The passes through one direction of one layer, as one worker has them. The functions of scratch say how many bytes
// that worker needs at `Pass::scratch`. `pack` fills what a pass is to pack; `step` runs one frame from packed weights,
// on the caller's thread, without memory other than the stack.
template <class T>
struct DirectionKernels {
  int lanes;               // of a vector
  const CellShape* shapes;  // of the printed cells
  Index (*forward_scratch)(const ForwardPass<T>&, int worker);
  void (*forward)(const ForwardPass<T>&, int worker);
  void (*pack)(const ForwardPass<T>&, int worker);
  void (*step)(const ForwardPass<T>&, const Frame<T>&);
  Index (*backward_scratch)(const BackwardPass<T>&, int worker);
  void (*backward)(const BackwardPass<T>&, int worker);
};

struct Kernels {
  // The sum over k of a[k] * b[k]. a and b: n floats each, only read; they may overlap and need no alignment.
  // Order: partial sum j takes k = j, j + 64, j + 128, ...; then the 64 partial sums are folded in halves, j and
  // j + 32, j and j + 16, ... The order is the same at every level, so levels with a fused multiply-add give the
  // same bits; without one each product is rounded before it is added.
  float (*dot)(const float* a, const float* b, std::size_t n);
  DirectionKernels<float> of_float;
  DirectionKernels<double> of_double;
};

}  // namespace holdfast
