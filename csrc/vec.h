// One vector of floats, as wide as the level that this file is compiled for. Included by level.cc only.
//
// Nothing here may come from the standard library as an inline template: the linker keeps one copy of such a function,
// and a copy compiled for AVX-512 would crash the processors that lack it.
#pragma once

#include <cstddef>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace holdfast {
namespace HOLDFAST_LEVEL {

#if defined(__AVX512F__)
using Vec = __m512;
inline Vec fused_multiply_add(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
#elif defined(__AVX2__) && defined(__FMA__)
using Vec = __m256;
inline Vec fused_multiply_add(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
#elif defined(__ARM_NEON)
using Vec = float32x4_t;
inline Vec fused_multiply_add(Vec a, Vec b, Vec c) { return vfmaq_f32(c, a, b); }
#else
// No fused instruction at this level: the product is rounded before the sum.
typedef float Vec __attribute__((vector_size(16)));
inline Vec fused_multiply_add(Vec a, Vec b, Vec c) { return a * b + c; }
#endif

constexpr std::size_t kLanes = sizeof(Vec) / sizeof(float);

inline Vec load(const float* from) {
  Vec value;
  __builtin_memcpy(&value, from, sizeof value);
  return value;
}

inline void store(float* to, Vec value) { __builtin_memcpy(to, &value, sizeof value); }

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
