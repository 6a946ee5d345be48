// The functions that cells are made of, on vectors: exp, log, sqrt, abs, relu, maximum, minimum, sigmoid and tanh.
//
// Normal results are within 2 ulp, those of tanh on doubles within 2.5 (tests/core/activations_test.cc measures it);
// subnormal results may be zero. NaN gives NaN. sigmoid and tanh stay within their ranges and reach the ends; tanh is
// odd to the bit.
#pragma once

#include "vec.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {

// maximum is a < b ? b : a and minimum b < a ? b : a, as in the other languages that cells are printed in: a tie, of
// zeros of either sign too, or a NaN gives `a`. The instructions of x86-64 do that with their operands turned round.
// (The masks are whole: GCC 12 warns of the forms without one.)
#if defined(__AVX512F__)
HOLDFAST_INLINE Vec<float> sqrt(Vec<float> x) { return _mm512_maskz_sqrt_ps(0xffff, x); }
HOLDFAST_INLINE Vec<double> sqrt(Vec<double> x) { return _mm512_maskz_sqrt_pd(0xff, x); }
HOLDFAST_INLINE Vec<float> maximum(Vec<float> a, Vec<float> b) { return _mm512_maskz_max_ps(0xffff, b, a); }
HOLDFAST_INLINE Vec<double> maximum(Vec<double> a, Vec<double> b) { return _mm512_maskz_max_pd(0xff, b, a); }
HOLDFAST_INLINE Vec<float> minimum(Vec<float> a, Vec<float> b) { return _mm512_maskz_min_ps(0xffff, b, a); }
HOLDFAST_INLINE Vec<double> minimum(Vec<double> a, Vec<double> b) { return _mm512_maskz_min_pd(0xff, b, a); }
#elif defined(__AVX2__) && defined(__FMA__)
HOLDFAST_INLINE Vec<float> sqrt(Vec<float> x) { return _mm256_sqrt_ps(x); }
HOLDFAST_INLINE Vec<double> sqrt(Vec<double> x) { return _mm256_sqrt_pd(x); }
HOLDFAST_INLINE Vec<float> maximum(Vec<float> a, Vec<float> b) { return _mm256_max_ps(b, a); }
HOLDFAST_INLINE Vec<double> maximum(Vec<double> a, Vec<double> b) { return _mm256_max_pd(b, a); }
HOLDFAST_INLINE Vec<float> minimum(Vec<float> a, Vec<float> b) { return _mm256_min_ps(b, a); }
HOLDFAST_INLINE Vec<double> minimum(Vec<double> a, Vec<double> b) { return _mm256_min_pd(b, a); }
#elif defined(__x86_64__)
HOLDFAST_INLINE Vec<float> sqrt(Vec<float> x) { return _mm_sqrt_ps(x); }
HOLDFAST_INLINE Vec<double> sqrt(Vec<double> x) { return _mm_sqrt_pd(x); }
HOLDFAST_INLINE Vec<float> maximum(Vec<float> a, Vec<float> b) { return _mm_max_ps(b, a); }
HOLDFAST_INLINE Vec<double> maximum(Vec<double> a, Vec<double> b) { return _mm_max_pd(b, a); }
HOLDFAST_INLINE Vec<float> minimum(Vec<float> a, Vec<float> b) { return _mm_min_ps(b, a); }
HOLDFAST_INLINE Vec<double> minimum(Vec<double> a, Vec<double> b) { return _mm_min_pd(b, a); }
#else
HOLDFAST_INLINE Vec<float> maximum(Vec<float> a, Vec<float> b) { return select(a < b, b, a); }
HOLDFAST_INLINE Vec<double> maximum(Vec<double> a, Vec<double> b) { return select(a < b, b, a); }
HOLDFAST_INLINE Vec<float> minimum(Vec<float> a, Vec<float> b) { return select(b < a, b, a); }
HOLDFAST_INLINE Vec<double> minimum(Vec<double> a, Vec<double> b) { return select(b < a, b, a); }
#if defined(__aarch64__) && defined(__ARM_NEON)
HOLDFAST_INLINE Vec<float> sqrt(Vec<float> x) { return (Vec<float>)vsqrtq_f32((float32x4_t)x); }
HOLDFAST_INLINE Vec<double> sqrt(Vec<double> x) { return (Vec<double>)vsqrtq_f64((float64x2_t)x); }
#else
HOLDFAST_INLINE Vec<float> sqrt(Vec<float> x) {
  for (int lane = 0; lane < kLanes<float>; ++lane) x[lane] = __builtin_sqrtf(x[lane]);
  return x;
}
HOLDFAST_INLINE Vec<double> sqrt(Vec<double> x) {
  for (int lane = 0; lane < kLanes<double>; ++lane) x[lane] = __builtin_sqrt(x[lane]);
  return x;
}
#endif
#endif

HOLDFAST_INLINE Vec<float> relu(Vec<float> x) { return maximum(x, Vec<float>{}); }
HOLDFAST_INLINE Vec<double> relu(Vec<double> x) { return maximum(x, Vec<double>{}); }

namespace parts {

// What differs between the precisions. `kSeries` are c2, c3, ... of exp(r) = 1 + r + c2 r^2 + c3 r^3 + ... where
// |r| <= log(2) / 2, `kLogSeries` those of (log((1 + s) / (1 - s)) - 2 s) / s in s^2: Sollya's fpminimax makes the
// relative error of both least. kLn2 + kLn2Rest is log(2); a short kLn2 has an exact product with an exponent.
template <class T>
struct Format;

template <>
struct Format<float> {
  typedef std::uint32_t Bits __attribute__((vector_size(kVectorBytes)));
  static constexpr int kMantissaBits = 23;
  static constexpr std::uint32_t kBias = 127, kHalfRoot = 0x3f3504f3, kSign = 0x80000000;
  static constexpr float kLog2E = 0x1.715476p+0f;
  static constexpr float kLn2 = kFused ? 0x1.62e43p-1f : 0x1.63p-1f;
  static constexpr float kLn2Rest = kFused ? -0x1.05c61p-29f : -0x1.bd0106p-13f;
  static constexpr float kLn2Short = 0x1.63p-1f, kLn2ShortRest = -0x1.bd0106p-13f;
  static constexpr int kTerms = 5, kLogTerms = 3;
  static constexpr float kSeries[kTerms] = {0x1.fffffep-2f, 0x1.5554bp-3f, 0x1.555716p-5f, 0x1.12279ep-7f,
                                            0x1.6b7376p-10f};
  static constexpr float kLogSeries[kLogTerms] = {0x1.55555cp-1f, 0x1.997b8cp-2f, 0x1.2efa24p-2f};
  // exp is 0 before the first and infinite after the second.
  static constexpr float kExpLeast = -104.5f, kExpMost = 89.5f;
  // sigmoid is 0 before the first, less than the least normal number before the second, and 1 after the third.
  static constexpr float kSigmoidLeast = -104.5f, kSigmoidNormal = -0x1.5d589ep+6f, kSigmoidMost = 18;
  static constexpr float kTanhMost = 9.1f;
};

template <>
struct Format<double> {
  typedef std::uint64_t Bits __attribute__((vector_size(kVectorBytes)));
  static constexpr int kMantissaBits = 52;
  static constexpr std::uint64_t kBias = 1023, kHalfRoot = 0x3fe6a09e667f3bcd, kSign = 0x8000000000000000;
  static constexpr double kLog2E = 0x1.71547652b82fep+0;
  static constexpr double kLn2 = kFused ? 0x1.62e42fefa39efp-1 : 0x1.62e42fefp-1;
  static constexpr double kLn2Rest = kFused ? 0x1.abc9e3b39803fp-56 : 0x1.473de6af278edp-34;
  static constexpr double kLn2Short = 0x1.62e42fefp-1, kLn2ShortRest = 0x1.473de6af278edp-34;
  static constexpr int kTerms = 10, kLogTerms = 7;
  static constexpr double kSeries[kTerms] = {
      0x1.0000000000005p-1,  0x1.555555555553bp-3,  0x1.5555555552101p-5,  0x1.1111111118834p-7,
      0x1.6c16c17f336c1p-10, 0x1.a01a0177f3ccbp-13, 0x1.a019a6914bad5p-16, 0x1.71de80fa2ab51p-19,
      0x1.28a2a1b4380c2p-22, 0x1.ae77aa79097b3p-26};
  static constexpr double kLogSeries[kLogTerms] = {
      0x1.5555555555558p-1, 0x1.9999999995284p-2, 0x1.2492492e03d5p-2, 0x1.c71c62c9cb7e9p-3,
      0x1.7462bd218b3e6p-3, 0x1.39fd3c2df8d38p-3, 0x1.2b66b9bfa6c5p-3};
  static constexpr double kExpLeast = -746, kExpMost = 711;
  static constexpr double kSigmoidLeast = -745.5, kSigmoidNormal = -0x1.6232bdd7abcd2p+9, kSigmoidMost = 38;
  static constexpr double kTanhMost = 20;
};

template <class T>
using Bits = typename Format<T>::Bits;

// Numbers from this one on are whole.
template <class T>
constexpr T kUnit = T(std::uint64_t{1} << Format<T>::kMantissaBits);

// exp(kSign * x) = 2^kShift * power * (1 + excess).
template <class T>
struct Exponential {
  Vec<T> power, excess;
};

// A sum with this number rounds to whole numbers and leaves them, biased, in the lowest bits.
template <class T>
constexpr T kRounding = kUnit<T> * T(1.5) + T(Format<T>::kBias);

template <class T>
HOLDFAST_INLINE Vec<T> power_of_two(Vec<T> rounded) {
  return (Vec<T>)((Bits<T>)rounded << Format<T>::kMantissaBits);
}

// c2 + c3 (kSign r) + c4 r^2 + ...: even and odd powers apart, which shortens the chain.
template <class T, int kSign>
HOLDFAST_INLINE Vec<T> series(Vec<T> r, Vec<T> square) {
  using F = Format<T>;
  constexpr int kLastEven = (F::kTerms - 1) / 2 * 2, kLastOdd = (F::kTerms / 2) * 2 - 1;
  Vec<T> even = broadcast<T>(F::kSeries[kLastEven]), odd = broadcast<T>(kSign * F::kSeries[kLastOdd]);
  for (int k = kLastEven - 2; k >= 0; k -= 2) even = fma(even, square, broadcast<T>(F::kSeries[k]));
  for (int k = kLastOdd - 2; k >= 1; k -= 2) odd = fma(odd, square, broadcast<T>(kSign * F::kSeries[k]));
  return fma(odd, r, even);
}

template <class T, int kSign, int kShift, bool kRest>
HOLDFAST_INLINE Exponential<T> exponential(Vec<T> x) {
  using F = Format<T>;
  constexpr T kBiased = kRounding<T> - T(kShift);
  const Vec<T> rounded = fma(x, broadcast<T>(kSign * F::kLog2E), broadcast<T>(kBiased));
  const Vec<T> exponent = rounded - kBiased;
  // kSign * r is what is left of the argument.
  Vec<T> r = fma(exponent, broadcast<T>(-kSign * F::kLn2), x);
  if (kRest) r = fma(exponent, broadcast<T>(-kSign * F::kLn2Rest), r);
  const Vec<T> square = r * r;
  const Vec<T> excess = fma(square, series<T, kSign>(r, square), kSign > 0 ? r : -r);
  return {power_of_two<T>(rounded), excess};
}

#if defined(__AVX512F__)
// Within 2^-14, or 2^-28, of 1 / b. To mend what this gives is no slower than to divide by a sum that was rounded and
// to mend that.
HOLDFAST_INLINE Vec<float> inverse(Vec<float> b) { return _mm512_maskz_rcp14_ps(0xffff, b); }
HOLDFAST_INLINE Vec<double> inverse(Vec<double> b) {
  const Vec<double> first = _mm512_maskz_rcp14_pd(0xff, b);
  return fma(fma(-b, first, broadcast(1.0)), first, first);
}

// a + b * c where x >= least or x is NaN, elsewhere 0.
HOLDFAST_INLINE Vec<float> fma_from(float least, Vec<float> x, Vec<float> b, Vec<float> c, Vec<float> a) {
  return _mm512_maskz_fmadd_ps(_mm512_cmp_ps_mask(x, broadcast(least), _CMP_NLT_UQ), b, c, a);
}
HOLDFAST_INLINE Vec<double> fma_from(double least, Vec<double> x, Vec<double> b, Vec<double> c, Vec<double> a) {
  return _mm512_maskz_fmadd_pd(_mm512_cmp_pd_mask(x, broadcast(least), _CMP_NLT_UQ), b, c, a);
}

template <class T>
HOLDFAST_INLINE Vec<T> sigmoid(Vec<T> x) {
  using F = Format<T>;
  const Exponential<T> e = exponential<T, -1, 0, true>(minimum(x, broadcast<T>(F::kSigmoidMost)));
  const Vec<T> power = fma(e.power, e.excess, e.power);
  const Vec<T> first = inverse(power + T(1));
  // What is missing is 1 - first * (1 + power), in an order that never rounds 1 + power. The last inverses would be
  // subnormal, for which there is no estimate.
  const Vec<T> missing = fma(-power, first, broadcast<T>(1)) - first;
  return fma_from(F::kSigmoidNormal, x, missing, first, first);
}

#else

// Within 13 % of 1 / b, or of 2 / b^2 to 27 % where products are not fused: that is as large near 2, where tanh has
// much to mend, and soon smaller, where the products have lost what it would mend.
template <class T>
HOLDFAST_INLINE Vec<T> inverse(Vec<T> b) {
  using F = Format<T>;
  if (kFused) return (Vec<T>)(((2 * F::kBias) << F::kMantissaBits) - (Bits<T>)b);
  return (Vec<T>)(((3 * F::kBias + 1) << F::kMantissaBits) - 2 * (Bits<T>)b);
}

template <class T>
HOLDFAST_INLINE Vec<T> sigmoid(Vec<T> x) {
  using F = Format<T>;
  // Both sides of the fraction have this factor, so that the lower one stays finite until the result is 0.
  constexpr T kOne = 1 / (2 * kUnit<T>);
  const Vec<T> bounded = minimum(maximum(x, broadcast<T>(F::kSigmoidLeast)), broadcast<T>(F::kSigmoidMost));
  const Exponential<T> e = exponential<T, -1, F::kMantissaBits + 1, true>(bounded);
  // 1 + power, of which only the last sum rounds: where the first one would, what it lost is kept.
  const Vec<T> sum = e.power + kOne, lost = kOne - (sum - e.power);
  return kOne / (fma(e.power, e.excess, lost) + sum);
}

#endif

// (e - 1) / (e + 1) with e = exp(2 |x|), from e - 1, which keeps its digits near 0.
template <class T>
HOLDFAST_INLINE Vec<T> tanh(Vec<T> x) {
  using F = Format<T>;
  const Bits<T> sign = (Bits<T>)x & F::kSign;
  const Vec<T> bounded = minimum((Vec<T>)((Bits<T>)x ^ sign), broadcast<T>(F::kTanhMost));
  // The exponents are so small that they do without the rest of log(2), but for that of a short one.
  const Exponential<T> e = exponential<T, 1, 0, !kFused>(bounded + bounded);
  const Vec<T> above = fma(e.power, e.excess, e.power - T(1)), below = above + T(2);
#if defined(__AVX512F__)
  const Vec<T> inverted = inverse(below), first = above * inverted;
#else
  const Vec<T> inverted = inverse<T>(below), first = above / below;
#endif
  // What is missing is above - first * below, but `below` was rounded: its terms are not.
  const Vec<T> missing = fma(-first, above, fma(first, broadcast<T>(-2), above));
  return (Vec<T>)((Bits<T>)fma(missing, inverted, first) | sign);
}

template <class T>
HOLDFAST_INLINE Vec<T> exp(Vec<T> x) {
  using F = Format<T>;
  const Vec<T> bounded = minimum(maximum(x, broadcast<T>(F::kExpLeast)), broadcast<T>(F::kExpMost));
  const Vec<T> exponent = fma(bounded, broadcast<T>(F::kLog2E), broadcast<T>(kRounding<T>)) - kRounding<T>;
  // Half of the exponent at first: the whole may be out of range where the result is not.
  const Vec<T> half = exponent * T(0.5) + kRounding<T>;
  const Vec<T> rest = (exponent - (half - kRounding<T>)) + kRounding<T>;
  const Vec<T> power = power_of_two<T>(half);
  const Exponential<T> e = exponential<T, 1, 0, true>(bounded);
  return fma(power, e.excess, power) * power_of_two<T>(rest);
}

// x = 2^k m with m from sqrt(1/2) to sqrt(2); f = m - 1 and s = f / (2 + f), after FreeBSD's e_log.c.
template <class T>
HOLDFAST_INLINE Vec<T> log(Vec<T> x) {
  using F = Format<T>;
  constexpr T kLeastNormal = sizeof(T) == 4 ? T(0x1p-126) : T(0x1p-1022);
  constexpr T kInfinity = T(__builtin_inf());
  const Vec<T> enlarged = select(x < kLeastNormal, x * kUnit<T>, x);
  const Vec<T> shift = select(x < kLeastNormal, broadcast<T>(F::kMantissaBits), Vec<T>{});
  const Bits<T> bits = (Bits<T>)enlarged;
  // The bias leaves a positive number, which is turned into a floating-point one by writing it into the lowest bits.
  const Bits<T> biased = (bits - F::kHalfRoot + (F::kBias << F::kMantissaBits)) >> F::kMantissaBits;
  const Vec<T> k = (Vec<T>)(biased | (Bits<T>)broadcast<T>(kUnit<T>)) - (kUnit<T> + T(F::kBias)) - shift;
  const Vec<T> f = (Vec<T>)(bits - ((biased - F::kBias) << F::kMantissaBits)) - T(1);
  const Vec<T> s = f / (f + T(2));
  const Vec<T> square = s * s, half_square = f * f * T(0.5);
  Vec<T> series = broadcast<T>(F::kLogSeries[F::kLogTerms - 1]);
  for (int j = F::kLogTerms - 2; j >= 0; --j) series = fma(series, square, broadcast<T>(F::kLogSeries[j]));
  const Vec<T> lower = fma(s, half_square + series * square, k * F::kLn2ShortRest);
  const Vec<T> value = k * F::kLn2Short - ((half_square - lower) - f);
  const Vec<T> positive = select(x < kInfinity, value, x);
  const Vec<T> at_zero = select(x == T(0), broadcast<T>(-kInfinity), positive);
  return select(x < T(0), broadcast<T>(T(__builtin_nan(""))), at_zero);
}

template <class T>
HOLDFAST_INLINE Vec<T> abs(Vec<T> x) {
  return (Vec<T>)((Bits<T>)x & ~Format<T>::kSign);
}

}  // namespace parts

HOLDFAST_INLINE Vec<float> exp(Vec<float> x) { return parts::exp<float>(x); }
HOLDFAST_INLINE Vec<double> exp(Vec<double> x) { return parts::exp<double>(x); }
HOLDFAST_INLINE Vec<float> log(Vec<float> x) { return parts::log<float>(x); }
HOLDFAST_INLINE Vec<double> log(Vec<double> x) { return parts::log<double>(x); }
HOLDFAST_INLINE Vec<float> abs(Vec<float> x) { return parts::abs<float>(x); }
HOLDFAST_INLINE Vec<double> abs(Vec<double> x) { return parts::abs<double>(x); }
HOLDFAST_INLINE Vec<float> sigmoid(Vec<float> x) { return parts::sigmoid<float>(x); }
HOLDFAST_INLINE Vec<double> sigmoid(Vec<double> x) { return parts::sigmoid<double>(x); }
HOLDFAST_INLINE Vec<float> tanh(Vec<float> x) { return parts::tanh<float>(x); }
HOLDFAST_INLINE Vec<double> tanh(Vec<double> x) { return parts::tanh<double>(x); }

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
