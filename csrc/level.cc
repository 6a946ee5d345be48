// The table of a level. CMakeLists.txt sets HOLDFAST_LEVEL, the namespace of all that is compiled for it, and the
// flags of its instruction sets.
#include "kernels.h"
#include "pack.h"
#include "pointwise.h"
#include "vec.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {
// forward.cc and backward.cc.
template <class T>
Index forward_scratch(const ForwardPass<T>& pass, int worker);
template <class T>
void forward(const ForwardPass<T>& pass, int worker);
template <class T>
void step(const ForwardPass<T>& pass, const Frame<T>& frame);
template <class T>
Index backward_scratch(const BackwardPass<T>& pass, int worker);
template <class T>
void backward(const BackwardPass<T>& pass, int worker);

extern const Kernels kernels;
const Kernels kernels = {
    {kLanes<float>, kShapes, forward_scratch, forward, pack_forward, step, backward_scratch, backward},
    {kLanes<double>, kShapes, forward_scratch, forward, pack_forward, step, backward_scratch, backward},
};

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
