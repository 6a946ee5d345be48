// Vectors of floats or doubles as wide as the level that this file is compiled for. Included by level.cc's files only.
//
// Nothing here may come from the standard library as an inline template: the linker keeps one copy of such a function,
// and a copy compiled for AVX-512 would crash the processors that lack it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "layout.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__) && defined(__ARM_NEON)
#include <arm_neon.h>
#endif

// GCC keeps an array in registers from loop to loop only where it unrolls the loops over the array early.
#define HOLDFAST_UNROLL _Pragma("GCC unroll 8")

namespace holdfast {
namespace HOLDFAST_LEVEL {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__) && defined(__FMA__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

// Whether there are 32 vector registers; elsewhere there are 16.
#if defined(__AVX512F__) || (defined(__aarch64__) && defined(__ARM_NEON))
constexpr bool kManyRegisters = true;
#else
constexpr bool kManyRegisters = false;
#endif

template <class T>
struct VectorOf;
template <>
struct VectorOf<float> {
  typedef float type __attribute__((vector_size(kVectorBytes)));
};
template <>
struct VectorOf<double> {
  typedef double type __attribute__((vector_size(kVectorBytes)));
};

template <class T>
using Vec = typename VectorOf<T>::type;

// What comparing two vectors gives: -1 in the lanes where it holds, 0 in the others.
template <class T>
using Mask = decltype(Vec<T>{} < Vec<T>{});

template <class T>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(T));

// A vector that is used `uses` times beside `others`, in a register: GCC would rather read it from memory at each use.
template <int USES, int OTHERS, class Vector>
HOLDFAST_INLINE void keep_in_register([[maybe_unused]] Vector& vector) {
#if defined(__AVX512F__)
  if constexpr (USES > 1 && OTHERS < 32) __asm__("" : "+v"(vector));
#elif defined(__AVX2__) && defined(__FMA__)
  if constexpr (USES > 1 && OTHERS < 16) __asm__("" : "+x"(vector));
#endif
}

// Minus zero keeps its sign, as it would not in a sum.
template <class T>
HOLDFAST_INLINE Vec<T> broadcast(T x) {
  return x - Vec<T>{};
}

template <class T>
HOLDFAST_INLINE Vec<T> load(const T* from) {
  Vec<T> value;
  __builtin_memcpy(&value, from, sizeof value);
  return value;
}

template <class T>
HOLDFAST_INLINE void store(T* to, Vec<T> value) {
  __builtin_memcpy(to, &value, sizeof value);
}

#if defined(__AVX512F__)

HOLDFAST_INLINE Vec<float> load(const float* from, int n) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), from);
}
HOLDFAST_INLINE Vec<double> load(const double* from, int n) {
  return _mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1), from);
}
HOLDFAST_INLINE void store(float* to, Vec<float> value, int n) {
  _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << n) - 1), value);
}
HOLDFAST_INLINE void store(double* to, Vec<double> value, int n) {
  _mm512_mask_storeu_pd(to, static_cast<__mmask8>((1u << n) - 1), value);
}

#elif defined(__AVX2__) && defined(__FMA__)

HOLDFAST_INLINE __m256i first_floats(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
HOLDFAST_INLINE __m256i first_doubles(int n) {
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}
HOLDFAST_INLINE Vec<float> load(const float* from, int n) { return _mm256_maskload_ps(from, first_floats(n)); }
HOLDFAST_INLINE Vec<double> load(const double* from, int n) { return _mm256_maskload_pd(from, first_doubles(n)); }
HOLDFAST_INLINE void store(float* to, Vec<float> value, int n) { _mm256_maskstore_ps(to, first_floats(n), value); }
HOLDFAST_INLINE void store(double* to, Vec<double> value, int n) { _mm256_maskstore_pd(to, first_doubles(n), value); }

#else

// Lane by lane: a copy of variable length would be a call.
template <class T>
HOLDFAST_INLINE Vec<T> load(const T* from, int n) {
  Vec<T> value = {};
  for (int lane = 0; lane < kLanes<T>; ++lane) {
    if (lane < n) value[lane] = from[lane];
  }
  return value;
}
template <class T>
HOLDFAST_INLINE void store(T* to, Vec<T> value, int n) {
  for (int lane = 0; lane < kLanes<T>; ++lane) {
    if (lane < n) to[lane] = value[lane];
  }
}

#endif

// a * b + c, rounded once where the level has such an instruction; elsewhere the product is rounded before the sum.
#if defined(__AVX512F__)
constexpr bool kFused = true;
HOLDFAST_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) { return _mm512_fmadd_ps(a, b, c); }
HOLDFAST_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) { return _mm512_fmadd_pd(a, b, c); }
#elif defined(__AVX2__) && defined(__FMA__)
constexpr bool kFused = true;
HOLDFAST_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) { return _mm256_fmadd_ps(a, b, c); }
HOLDFAST_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) { return _mm256_fmadd_pd(a, b, c); }
#elif defined(__aarch64__) && defined(__ARM_NEON)
constexpr bool kFused = true;
HOLDFAST_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return (Vec<float>)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
HOLDFAST_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
  return (Vec<double>)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}
#else
constexpr bool kFused = false;
HOLDFAST_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) { return a * b + c; }
HOLDFAST_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) { return a * b + c; }
#endif

HOLDFAST_INLINE Vec<float> select(Mask<float> mask, Vec<float> a, Vec<float> b) { return mask ? a : b; }
HOLDFAST_INLINE Vec<double> select(Mask<double> mask, Vec<double> a, Vec<double> b) { return mask ? a : b; }

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
