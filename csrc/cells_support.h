// What generated/cells.h needs besides the functions of activations.h. Compiled once for each level.
#pragma once

namespace holdfast {
namespace HOLDFAST_LEVEL {

// What a vector holds; a number holds itself.
template <class V>
struct Element {
  using type = __typeof__(V{}[0]);
};
template <>
struct Element<float> {
  using type = float;
};
template <>
struct Element<double> {
  using type = double;
};

// The number, rounded to what V holds, in each place of it.
template <class V>
[[gnu::always_inline]] inline V number(double value) {
  return V{} + static_cast<typename Element<V>::type>(value);
}

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
