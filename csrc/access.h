// How the printed steps reach their arrays. Included by the sources of a level, and where a user's own cell is
// compiled.
#pragma once

#include "activations.h"
#include "layout.h"
#include "vec.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {

// Lanes of a vector of which only the first n are there; all of them if n is their number.
template <class T, bool WHOLE>
struct Access {
  int n;
  HOLDFAST_INLINE Vec<T> get(const T* from) const {
    if constexpr (WHOLE) return load(from);
    return load(from, n);
  }
  HOLDFAST_INLINE void put(T* to, Vec<T> value) const {
    if constexpr (WHOLE) {
      store(to, value);
    } else {
      store(to, value, n);
    }
  }
};

// The lanes of a vector, added up from the first to the last.
template <class T>
HOLDFAST_INLINE T sum_of(Vec<T> vector) {
  T sum = 0;
  for (int lane = 0; lane < kLanes<T>; ++lane) sum += vector[lane];
  return sum;
}

template <class Cell>
constexpr int kGroup = group_of(Cell::kGates);
constexpr bool has_bit(unsigned bits, int k) { return bits >> k & 1; }
// Arrays of no elements do not exist.
constexpr int at_least_one(int n) { return n > 0 ? n : 1; }

// The lanes that are not there get zeros: the products read whole panels.
template <class T, bool WHOLE>
HOLDFAST_INLINE void put_panel(T* to, Vec<T> value, Access<T, WHOLE> access) {
  if constexpr (!WHOLE) store(to, Vec<T>{});
  access.put(to, value);
}

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
