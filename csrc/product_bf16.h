// The matrix kernels with operands in bfloat16 and sums in float32. Included by the sources of a level only; without
// the instructions for them, kHasBfloat16 is false and the rest is not there. They are called as their namesakes of
// product.h and pack.h are, with these differences.
//
// A panel has its rows in pairs, [pairs][panel_columns][2], since one instruction multiplies two of them; a row of a
// tile has as many elements, up to an even number with zeros.
// - Forward: `round_row` takes x (its two parts, one after the other into one row) and what enters weight_hh to scratch
//   rows of in_pairs(I) and in_pairs(W) elements; `pack_transposed` packs both matrices, the second from
//   in_pairs(I) * columns elements on; two runs, whose lengths are even.
// - Backward: `round_row` takes the gates of each slot to an array like the one in float32, [blocks, chunk, columns];
//   `pack_backward` packs; one run of `columns` elements, as there.
// - Weight gradients: `keep_column_pairs` puts what the gates read into left [column groups, slot pairs, kMostTileRows,
//   2], and `pair_slots` the gates of some slots of a block into right [slot pairs, columns, 2], to be used by all
//   column groups. A call begins with an even slot of the chunk; a chunk holds an even number.
//
// The instructions take subnormal numbers for zeros. Each element is summed up in the same order whatever the tile.
#pragma once

#include "product.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {

#if defined(__AVX512BF16__)

constexpr bool kHasBfloat16 = true;

struct Bfloat16 {
  std::uint16_t bits;
};

// Elements of n that come in pairs.
HOLDFAST_INLINE constexpr Index in_pairs(Index n) { return round_up(n, 2); }
// What `round_row` may write for n elements: zeros follow them up to a whole vector of sums.
HOLDFAST_INLINE constexpr Index rounded_width(Index n) { return round_up(n, kLanes<float>); }

// Sixteen pairs: [0, 1], [2, 3], and so on.
HOLDFAST_INLINE __m512bh load_pairs(const Bfloat16* from) { return (__m512bh)_mm512_loadu_si512(from); }

HOLDFAST_INLINE int load_pair(const Bfloat16* from) {
  int pair;
  __builtin_memcpy(&pair, from, sizeof pair);
  return pair;
}

HOLDFAST_INLINE __m512bh broadcast_pair(int pair) { return (__m512bh)_mm512_set1_epi32(pair); }

// Element k of `first` beside element k of `second`.
HOLDFAST_INLINE __m512i pair_up(Vec<float> first, Vec<float> second) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
                                         5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(second, first));
}

// The first n of a vector's elements, or all of them; zeros for the others.
HOLDFAST_INLINE Vec<float> load_some(const float* from, Index n) {
  return n < kLanes<float> ? load(from, static_cast<int>(n)) : load(from);
}

// Rounds to the nearest, ties to even; NaN stays NaN.
HOLDFAST_INLINE void round_row(const float* from, Index n, Bfloat16* to) {
  for (Index k = 0; k < n; k += kLanes<float>) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + k), (__m256i)_mm512_cvtneps_pbh(load_some(from + k, n - k)));
  }
}

// Elements of two rows of n, side by side up to a whole vector of pairs; zeros in the place of a row that is null.
HOLDFAST_INLINE void pair_rows(const float* first, const float* second, Index n, Bfloat16* to) {
  for (Index k = 0; k < n; k += kLanes<float>) {
    const Vec<float> a = first ? load_some(first + k, n - k) : Vec<float>{};
    const Vec<float> b = second ? load_some(second + k, n - k) : Vec<float>{};
    _mm512_storeu_si512(to + 2 * k, pair_up(a, b));
  }
}

// The rows of `count` slots, `columns` whole vectors each, to pairs of slots.
inline void pair_slots(const float* rows, Index count, Index columns, Bfloat16* to) {
  for (Index slot = 0; slot < count; slot += 2, rows += 2 * columns, to += 2 * columns) {
    pair_rows(rows, slot + 1 < count ? rows + columns : nullptr, columns, to);
  }
}

// What the gates of `slot` read in columns from `column` on, to its half of the pairs of slots; the groups begin
// group_size elements after each other.
inline void keep_column_pairs(const float* from, Index width, Index column, Index slot, Index group_size,
                              Bfloat16* left) {
  Bfloat16 rounded[kLanes<float>];
  Index within = column % kMostTileRows;
  Bfloat16* to = left + column / kMostTileRows * group_size + slot / 2 * 2 * kMostTileRows + slot % 2;
  for (Index k = 0; k < width; k += kLanes<float>) {
    const Index some = width - k < kLanes<float> ? width - k : kLanes<float>;
    round_row(from + k, some, rounded);
    for (Index j = 0; j < some; ++j) {
      to[2 * within] = rounded[j];
      if (++within == kMostTileRows) within = 0, to += group_size;
    }
  }
}

// As Product<T>, where a run's elements and a panel's rows come in pairs.
template <>
struct Product<Bfloat16> {
  const Run<Bfloat16>* runs;
  int run_count;
  const Bfloat16* panel;
  Index panel_columns;
  const float* const* begin;
  float* out;
  Index out_stride;
  Index column;
};

template <class T, int ROWS, int VECTORS>
void multiply_pairs(const Product<T>& product) {
  Vec<float> sums[ROWS][VECTORS] = {};
  if (product.begin) {
    HOLDFAST_UNROLL
    for (int r = 0; r < ROWS; ++r) {
      HOLDFAST_UNROLL
      for (int v = 0; v < VECTORS; ++v) sums[r][v] = load(product.begin[r] + product.column + v * kLanes<float>);
    }
  }
  const Index pair_size = 2 * product.panel_columns;
  const T* panel = product.panel + 2 * product.column;
  for (int n = 0; n < product.run_count; ++n) {
    const Run<T>& run = product.runs[n];
    const T* rows[ROWS];
    HOLDFAST_UNROLL
    for (int r = 0; r < ROWS; ++r) rows[r] = run.rows[r];
    for (Index part = 0; part < run.count; ++part) {
      for (Index k = 0; k < run.length; k += 2, panel += pair_size) {
        __m512bh columns[VECTORS];
        HOLDFAST_UNROLL
        for (int v = 0; v < VECTORS; ++v) {
          columns[v] = load_pairs(panel + v * 2 * kLanes<float>);
          keep_in_register<ROWS, (ROWS + 1) * VECTORS>(columns[v]);
        }
        HOLDFAST_UNROLL
        for (int r = 0; r < ROWS; ++r) {
          const __m512bh pair = broadcast_pair(load_pair(rows[r] + k));
          HOLDFAST_UNROLL
          for (int v = 0; v < VECTORS; ++v) sums[r][v] = _mm512_dpbf16_ps(sums[r][v], pair, columns[v]);
        }
      }
      HOLDFAST_UNROLL
      for (int r = 0; r < ROWS; ++r) rows[r] += run.stride;
    }
  }
  float* out = product.out + product.column;
  HOLDFAST_UNROLL
  for (int r = 0; r < ROWS; ++r) {
    HOLDFAST_UNROLL
    for (int v = 0; v < VECTORS; ++v) store(out + r * product.out_stride + v * kLanes<float>, sums[r][v]);
  }
}

// As Outer<T>, of pairs of slots: `left` and `right` begin with a pair, left_stride elements lead from one to the next.
template <>
struct Outer<Bfloat16> {
  const Bfloat16* left;
  Index left_stride;
  const Bfloat16* right;
  Index right_columns;
  Index count;  // slots
  float* tile;  // [columns, right_columns]
  bool first;
};

template <int COLUMNS, int VECTORS>
HOLDFAST_INLINE void add_slot_pair(const Bfloat16* left, int mask, const Bfloat16* right,
                                   Vec<float> (&sums)[COLUMNS][VECTORS]) {
  __m512bh gates[VECTORS];
  HOLDFAST_UNROLL
  for (int v = 0; v < VECTORS; ++v) {
    gates[v] = load_pairs(right + v * 2 * kLanes<float>);
    keep_in_register<COLUMNS, (COLUMNS + 1) * VECTORS>(gates[v]);
  }
  HOLDFAST_UNROLL
  for (int j = 0; j < COLUMNS; ++j) {
    const __m512bh pair = broadcast_pair(load_pair(left + 2 * j) & mask);
    HOLDFAST_UNROLL
    for (int v = 0; v < VECTORS; ++v) sums[j][v] = _mm512_dpbf16_ps(sums[j][v], pair, gates[v]);
  }
}

template <class T, int COLUMNS, int VECTORS>
void add_outer_pairs(const Outer<T>& outer) {
  Vec<float> sums[COLUMNS][VECTORS] = {};
  const T* left = outer.left;
  const T* right = outer.right;
  const Index pair_size = 2 * outer.right_columns;
  for (Index n = 1; n < outer.count; n += 2, left += outer.left_stride, right += pair_size) {
    add_slot_pair(left, -1, right, sums);
  }
  // Nobody has written what is beside the last one.
  if (outer.count % 2) add_slot_pair(left, 0xFFFF, right, sums);
  HOLDFAST_UNROLL
  for (int j = 0; j < COLUMNS; ++j) {
    HOLDFAST_UNROLL
    for (int v = 0; v < VECTORS; ++v) {
      float* to = outer.tile + j * outer.right_columns + v * kLanes<float>;
      store(to, outer.first ? sums[j][v] : load(to) + sums[j][v]);
    }
  }
}

// [rows - 1][vectors - 1]
template <class T>
constexpr Multiply<T> kMultiplyPairs[kMostTileRows][kMostVectors] = HOLDFAST_BY_ROWS(multiply_pairs);
// [columns - 1][vectors - 1]
template <class T>
constexpr AddOuter<T> kAddOuterPairs[kMostTileRows][kMostVectors] = HOLDFAST_BY_ROWS(add_outer_pairs);

inline void multiply_panel(Product<Bfloat16> product, int rows, int vectors) {
  for (int v = 0; v < vectors; v += kMostVectors) {
    product.column = Index{v} * kLanes<float>;
    kMultiplyPairs<Bfloat16>[rows - 1][(vectors - v < kMostVectors ? vectors - v : kMostVectors) - 1](product);
  }
}

inline void add_outer_panel(Outer<Bfloat16> outer, int columns, int vectors) {
  for (int v = 0; v < vectors; v += kMostVectors) {
    kAddOuterPairs<Bfloat16>[columns - 1][(vectors - v < kMostVectors ? vectors - v : kMostVectors) - 1](outer);
    outer.right += Index{kMostVectors} * 2 * kLanes<float>;
    outer.tile += Index{kMostVectors} * kLanes<float>;
  }
}

#else

constexpr bool kHasBfloat16 = false;

#endif

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
