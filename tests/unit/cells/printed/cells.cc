// The printed cells as functions of C, for test_cpp.py: over vectors of four and over single numbers.
#ifndef HOLDFAST_PRINTED
#define HOLDFAST_PRINTED "generated/cells.h"
#define HOLDFAST_PRINTED_CELLS HOLDFAST_CELLS
#endif
#include HOLDFAST_PRINTED

namespace holdfast {
namespace HOLDFAST_LEVEL {
namespace {

// `arrays` are those that a cell's forward and backward take, in their order.
template <class Cell, class V, class M>
void step(bool backward, void** arrays) {
  const auto v = [arrays](int k) { return static_cast<V*>(arrays[k]); };
  const auto m = [arrays](int k) { return static_cast<const M*>(arrays[k]); };
  if (backward) {
    Cell::backward(v(0), v(1), v(2), v(3), v(4), m(5), v(6), v(7), v(8), v(9));
  } else {
    Cell::forward(v(0), v(1), v(2), v(3), m(4), v(5));
  }
}

template <class V, class M>
void step_of(int cell, bool backward, void** arrays) {
#define HOLDFAST_STEP(index, name) \
  if (cell == index) step<name, V, M>(backward, arrays);
  HOLDFAST_PRINTED_CELLS(HOLDFAST_STEP)
#undef HOLDFAST_STEP
}

// What a struct says of itself.
template <class Cell>
void describe(int* numbers) {
  const int found[] = {
      Cell::kGates, Cell::kStates, Cell::kValues, Cell::kParameters, Cell::kScalars, Cell::kMasks,
      Cell::kForwardReadsOld, Cell::kForwardReadsParameter, Cell::kForwardReadsMask, Cell::kBackwardReadsValue,
      Cell::kBackwardReadsOld, Cell::kBackwardReadsParameter, Cell::kBackwardReadsMask,
  };
  for (int number : found) *numbers++ = number;
  for (int place : Cell::kStateValues) *numbers++ = place;
}

}  // namespace
}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast

using namespace holdfast::HOLDFAST_LEVEL;

extern "C" {

void step_of_fours(int cell, bool backward, void** arrays) { step_of<Four, FourMasks>(cell, backward, arrays); }

void step_of_numbers(int cell, bool backward, void** arrays) { step_of<double, bool>(cell, backward, arrays); }

void describe_cell(int cell, int* numbers) {
#define HOLDFAST_DESCRIBE(index, name) \
  if (cell == index) describe<name>(numbers);
  HOLDFAST_PRINTED_CELLS(HOLDFAST_DESCRIBE)
#undef HOLDFAST_DESCRIBE
}

#ifdef HOLDFAST_CELLS_DIGEST
void enter(bool backward, const Four* h, const Four* scale, const FourMasks* drop, Four* result) {
  *result = backward ? entering::backward(*h, *scale, *drop) : entering::forward(*h, *scale, *drop);
}
#endif

}  // extern "C"
