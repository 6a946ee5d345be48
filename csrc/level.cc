// The table of a level. CMakeLists.txt sets HOLDFAST_LEVEL, the namespace of all that is compiled for it, and the
// flags of its instruction sets.
#include "kernels.h"
#include "product_bf16.h"
#include "vec.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {
// The other sources of a level.
template <class T>
Index forward_scratch(const ForwardPass<T>& pass, int worker);
template <class T>
void forward(const ForwardPass<T>& pass, int worker);
template <class T>
void pack(const ForwardPass<T>& pass, int worker);
template <class T>
void step(const ForwardPass<T>& pass, const Frame<T>& frame);
template <class T>
Index step_scratch(const ForwardPass<T>& pass);
template <class T>
Index backward_scratch(const BackwardPass<T>& pass, int worker);
template <class T>
void backward(const BackwardPass<T>& pass, int worker);
extern const CellList fused_cells, staged_cells;

template <class T>
constexpr DirectionKernels<T> kDirection = {kLanes<T>, forward_scratch, forward, pack, step, step_scratch,
                                            backward_scratch, backward};

extern const Kernels kernels;
const Kernels kernels = {kDirection<float>, kDirection<double>, kHasBfloat16, {&fused_cells, &staged_cells},
                         HOLDFAST_FLAGS};

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
