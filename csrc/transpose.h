// Squares of a matrix turned over in registers. Included by the sources of a level only.
#pragma once

#include "vec.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {

template <int... PLACES>
struct Places {};
template <int NEXT, int... PLACES>
struct PlacesUpTo : PlacesUpTo<NEXT - 1, NEXT - 1, PLACES...> {};
template <int... PLACES>
struct PlacesUpTo<0, PLACES...> {
  using type = Places<PLACES...>;
};

// Of two rows that lie `DISTANCE` apart: the lanes that are as far off the diagonal change places.
template <int DISTANCE, class V, int... LANE>
HOLDFAST_INLINE void swap_lanes(V& first, V& second, Places<LANE...>) {
  constexpr int kCount = sizeof...(LANE);
#if defined(__clang__) || __GNUC__ >= 12
  const V above = __builtin_shufflevector(first, second, ((LANE & DISTANCE) ? kCount + LANE - DISTANCE : LANE)...);
  second = __builtin_shufflevector(first, second, ((LANE & DISTANCE) ? kCount + LANE : LANE + DISTANCE)...);
#else
  using Order = decltype(V{} < V{});
  const V above = __builtin_shuffle(first, second, Order{((LANE & DISTANCE) ? kCount + LANE - DISTANCE : LANE)...});
  second = __builtin_shuffle(first, second, Order{((LANE & DISTANCE) ? kCount + LANE : LANE + DISTANCE)...});
#endif
  first = above;
}

template <class T, int DISTANCE = 1>
HOLDFAST_INLINE void transpose_rows(Vec<T> (&rows)[kLanes<T>]) {
  if constexpr (DISTANCE < kLanes<T>) {
    HOLDFAST_UNROLL
    for (int r = 0; r < kLanes<T>; ++r) {
      if (r & DISTANCE) continue;
      swap_lanes<DISTANCE>(rows[r], rows[r + DISTANCE], typename PlacesUpTo<kLanes<T>>::type{});
    }
    transpose_rows<T, 2 * DISTANCE>(rows);
  }
}

// to[k][r] = from[r][k], as many rows and columns as a vector has lanes; add: on top of what is there.
template <class T>
void transpose_square(const T* from, Index from_row, T* to, Index to_row, bool add = false) {
  Vec<T> rows[kLanes<T>];
  HOLDFAST_UNROLL
  for (int r = 0; r < kLanes<T>; ++r) rows[r] = load(from + r * from_row);
  transpose_rows<T>(rows);
  if (add) {
    for (int r = 0; r < kLanes<T>; ++r) rows[r] += load(to + r * to_row);
  }
  HOLDFAST_UNROLL
  for (int r = 0; r < kLanes<T>; ++r) store(to + r * to_row, rows[r]);
}

// The same of any number of rows and columns.
template <class T>
void transpose(const T* from, Index from_row, Index rows, Index columns, T* to, Index to_row, bool add = false) {
  const Index whole_rows = rows / kLanes<T> * kLanes<T>, whole_columns = columns / kLanes<T> * kLanes<T>;
  for (Index r = 0; r < whole_rows; r += kLanes<T>) {
    for (Index k = 0; k < whole_columns; k += kLanes<T>) {
      transpose_square(from + r * from_row + k, from_row, to + k * to_row + r, to_row, add);
    }
  }
  for (Index r = 0; r < rows; ++r) {
    for (Index k = r < whole_rows ? whole_columns : 0; k < columns; ++k) {
      T& place = to[k * to_row + r];
      place = add ? place + from[r * from_row + k] : from[r * from_row + k];
    }
  }
}

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
