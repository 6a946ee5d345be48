// What product_bf16_test.cc computes with: bfloat16 numbers, how float32 is rounded to them, and random ones.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <vector>

#include "../../csrc/product_bf16.h"

namespace core = holdfast::HOLDFAST_LEVEL;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr core::Bfloat16 kNanBits = {0x7FC0};

inline std::uint32_t bits_of(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

inline float float_of(std::uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

inline float value_of(core::Bfloat16 x) { return float_of(std::uint32_t{x.bits} << 16); }

// What the nearest bfloat16 is worth, ties to even; subnormal numbers are zeros of their sign.
inline float rounded(float x) {
  if (std::isnan(x)) return x;
  if (std::fpclassify(x) == FP_SUBNORMAL) return std::copysign(0.0f, x);
  const std::uint32_t bits = bits_of(x), half = 0x7FFF + (bits >> 16 & 1);
  return float_of((bits + half) & 0xFFFF0000u);
}

inline bool same(float a, float b) { return bits_of(a) == bits_of(b) || (std::isnan(a) && std::isnan(b)); }

class Numbers {
 public:
  explicit Numbers(unsigned seed) : words_(seed) {}

  // Whole numbers so small that sums of their products are exact, whatever the order.
  std::vector<float> whole(holdfast::Index n) {
    return make(n, [this] { return float(int(words_() % 17) - 8); });
  }
  std::vector<float> any(holdfast::Index n) {
    return make(n, [this] { return float(int(words_() % 20001) - 10000) * 1e-4f; });
  }
  std::uint32_t word() { return static_cast<std::uint32_t>(words_()); }

 private:
  static std::vector<float> make(holdfast::Index n, const std::function<float()>& draw) {
    std::vector<float> made(static_cast<std::size_t>(n));
    for (float& x : made) x = draw();
    return made;
  }
  std::mt19937 words_;
};
