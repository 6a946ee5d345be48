// The kernels, compiled once for each level: CMakeLists.txt sets HOLDFAST_LEVEL (a namespace) and the -march flags.
#include "kernels.h"
#include "pack.h"
#include "pointwise.h"
#include "vec.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {
namespace {

constexpr std::size_t kPartials = 64;
constexpr std::size_t kWide = kLanes<float>;
constexpr std::size_t kVectors = kPartials / kWide;

inline void add_products(Vec<float>* partials, const float* a, const float* b) {
  for (std::size_t v = 0; v < kVectors; ++v) {
    partials[v] = fma(load(a + v * kWide), load(b + v * kWide), partials[v]);
  }
}

float fold(const Vec<float>* partials) {
  float sums[kPartials];
  for (std::size_t v = 0; v < kVectors; ++v) store(sums + v * kWide, partials[v]);
  for (std::size_t half = kPartials / 2; half > 0; half /= 2) {
    for (std::size_t j = 0; j < half; ++j) sums[j] += sums[j + half];
  }
  return sums[0];
}

float dot(const float* a, const float* b, std::size_t n) {
  Vec<float> partials[kVectors] = {};
  const std::size_t whole = n - n % kPartials;
  for (std::size_t k = 0; k < whole; k += kPartials) add_products(partials, a + k, b + k);
  if (whole < n) {
    // Zeros fill the last block up: they leave the partial sums as they are.
    float a_rest[kPartials] = {}, b_rest[kPartials] = {};
    __builtin_memcpy(a_rest, a + whole, (n - whole) * sizeof(float));
    __builtin_memcpy(b_rest, b + whole, (n - whole) * sizeof(float));
    add_products(partials, a_rest, b_rest);
  }
  return fold(partials);
}

}  // namespace

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
    dot,
    {kLanes<float>, kShapes, forward_scratch, forward, pack_forward, step, backward_scratch, backward},
    {kLanes<double>, kShapes, forward_scratch, forward, pack_forward, step, backward_scratch, backward},
};

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
