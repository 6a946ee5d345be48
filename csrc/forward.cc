// The forward pass of one direction of one layer, as one worker has it.
#include "forward.h"

#include "pack.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {

template <class T>
Index forward_scratch(const ForwardPass<T>& pass, int worker) {
  Arena arena{nullptr, 0};
  const Forward<T> counted(pass, worker, arena);
  return arena.used;
}

template <class T>
void forward(const ForwardPass<T>& pass, int worker) {
  if (!pass.packed) {
    pack_forward(pass, worker);
    pass.workers.wait();
  }
  Arena arena{pass.scratch + worker * pass.scratch_bytes, 0};
  Forward<T> own(pass, worker, arena);
  own.run({0, pass.schedule.steps, 0, {}});
  own.clear_padding();
}

template Index forward_scratch(const ForwardPass<float>&, int);
template Index forward_scratch(const ForwardPass<double>&, int);
template void forward(const ForwardPass<float>&, int);
template void forward(const ForwardPass<double>&, int);

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
