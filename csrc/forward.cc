// The forward pass of one direction of one layer, as one worker has it.
#include "forward.h"

#include "operands.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {

namespace {

template <class E, class T>
Index count_scratch(const ForwardPass<T>& pass, int worker) {
  Arena arena{nullptr, 0};
  const Forward<T, E> counted(pass, worker, arena);
  return arena.used;
}

template <class E, class T>
void run(const ForwardPass<T>& pass, int worker) {
  if (!pass.packed) {
    pack_forward<E>(pass, worker);
    pass.workers.wait();
  }
  Arena arena{pass.scratch + worker * pass.scratch_bytes, 0};
  Forward<T, E> own(pass, worker, arena);
  own.run({0, pass.schedule.steps, 0, {}});
  own.clear_padding();
}

}  // namespace

template <class T>
Index forward_scratch(const ForwardPass<T>& pass, int worker) {
  return with_operands(pass, [&](auto operand) { return count_scratch<decltype(operand)>(pass, worker); });
}

template <class T>
void forward(const ForwardPass<T>& pass, int worker) {
  with_operands(pass, [&](auto operand) { run<decltype(operand)>(pass, worker); });
}

template <class T>
void pack(const ForwardPass<T>& pass, int worker) {
  with_operands(pass, [&](auto operand) { pack_forward<decltype(operand)>(pass, worker); });
}

template void pack(const ForwardPass<float>&, int);
template void pack(const ForwardPass<double>&, int);
template Index forward_scratch(const ForwardPass<float>&, int);
template Index forward_scratch(const ForwardPass<double>&, int);
template void forward(const ForwardPass<float>&, int);
template void forward(const ForwardPass<double>&, int);

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
