// What every level of instruction sets offers. level.cc fills one such table for each level it is compiled for.
#pragma once

#include "direction.h"

namespace holdfast {

// The passes through one direction of one layer, as one worker has them. The functions of scratch say how many bytes
// that worker needs at `Pass::scratch`. `pack` fills what a pass is to pack; `step` runs one frame from packed weights,
// on the caller's thread, without memory other than the stack and `step_scratch` bytes.
template <class T>
struct DirectionKernels {
  int lanes;  // of a vector
  Index (*forward_scratch)(const ForwardPass<T>&, int worker);
  void (*forward)(const ForwardPass<T>&, int worker);
  void (*pack)(const ForwardPass<T>&, int worker);
  void (*step)(const ForwardPass<T>&, const Frame<T>&);
  Index (*step_scratch)(const ForwardPass<T>&);
  Index (*backward_scratch)(const BackwardPass<T>&, int worker);
  void (*backward)(const BackwardPass<T>&, int worker);
};

struct CellList {
  const PrintedCell* cells;
  int count;
};

struct Kernels {
  DirectionKernels<float> of_float;
  DirectionKernels<double> of_double;
  bool has_bfloat16;            // whether calls may ask for it
  const CellList* built_in[2];  // fused and staged, in the order of holdfast.cells.core.PRINTED
  const char* flags;            // of the compiler, besides those that all levels have

  int cell_count() const { return built_in[0]->count + built_in[1]->count; }
};

// A cell by its place among those built in, and after them those that were loaded. Throws std::invalid_argument.
const PrintedCell& printed_cell(const Kernels& kernels, int cell);

}  // namespace holdfast
