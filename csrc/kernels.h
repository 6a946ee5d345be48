// What every level of instruction sets offers. level.cc fills one such table for each level it is compiled for.
#pragma once

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
  DirectionKernels<float> of_float;
  DirectionKernels<double> of_double;
};

}  // namespace holdfast
