// The matrix kernels: rows times a packed panel, and sums of outer products. Included by the sources of a level only.
//
// Every kernel adds up each element in the same order, one fused multiply-add after the other, so that an element's
// bits depend neither on the tile that it falls into nor on the thread that has it.
#pragma once

#include "layout.h"
#include "vec.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {

// Rows of a tile that fit the registers beside the vectors of a panel.
constexpr int kTileRows = kManyRegisters ? kMostTileRows : 3;

// Columns k of the rows of a tile: `count` runs of `length` elements; a run begins `stride` elements after the one
// before it.
template <class T>
struct Run {
  const T* rows[kMostTileRows];
  Index length, count, stride;
};

// out[r, :] = begin[r][:] + sum over all runs of row r times panel [sum of lengths, vectors * lanes].
// `begin` may be null for zeros. Row r of `out` begins r * out_stride elements after it.
template <class T>
struct Product {
  const Run<T>* runs;
  int run_count;
  const T* panel;
  const T* const* begin;
  T* out;
  Index out_stride;
};

template <class T, int ROWS, int VECTORS>
void multiply(const Product<T>& product) {
  constexpr int kColumns = VECTORS * kLanes<T>;
  Vec<T> sums[ROWS][VECTORS] = {};
  if (product.begin) {
    for (int r = 0; r < ROWS; ++r) {
      for (int v = 0; v < VECTORS; ++v) sums[r][v] = load(product.begin[r] + v * kLanes<T>);
    }
  }
  const T* panel = product.panel;
  for (int n = 0; n < product.run_count; ++n) {
    const Run<T>& run = product.runs[n];
    const T* rows[ROWS];
    for (int r = 0; r < ROWS; ++r) rows[r] = run.rows[r];
    for (Index part = 0; part < run.count; ++part) {
      for (Index k = 0; k < run.length; ++k, panel += kColumns) {
        Vec<T> columns[VECTORS];
        for (int v = 0; v < VECTORS; ++v) columns[v] = load(panel + v * kLanes<T>);
        for (int r = 0; r < ROWS; ++r) {
          const Vec<T> element = broadcast<T>(rows[r][k]);
          for (int v = 0; v < VECTORS; ++v) sums[r][v] = fma(element, columns[v], sums[r][v]);
        }
      }
      for (int r = 0; r < ROWS; ++r) rows[r] += run.stride;
    }
  }
  for (int r = 0; r < ROWS; ++r) {
    for (int v = 0; v < VECTORS; ++v) store(product.out + r * product.out_stride + v * kLanes<T>, sums[r][v]);
  }
}

// Sums over slots of outer products: tile[j, :] += sum over n < count of left[n * left_stride + j] * right[n, :], where
// right is a panel [count, vectors * lanes] and j < columns. The sum of one call is added to the tile as a whole.
template <class T>
struct Outer {
  const T* left;
  Index left_stride;
  const T* right;
  Index count;
  T* tile;      // [columns, vectors * lanes]
  bool first;   // the tile holds nothing yet
};

template <class T, int COLUMNS, int VECTORS>
void add_outer(const Outer<T>& outer) {
  Vec<T> sums[COLUMNS][VECTORS] = {};
  const T* left = outer.left;
  const T* right = outer.right;
  for (Index n = 0; n < outer.count; ++n, left += outer.left_stride, right += VECTORS * kLanes<T>) {
    Vec<T> gates[VECTORS];
    for (int v = 0; v < VECTORS; ++v) gates[v] = load(right + v * kLanes<T>);
    for (int j = 0; j < COLUMNS; ++j) {
      const Vec<T> element = broadcast<T>(left[j]);
      for (int v = 0; v < VECTORS; ++v) sums[j][v] = fma(element, gates[v], sums[j][v]);
    }
  }
  for (int j = 0; j < COLUMNS; ++j) {
    for (int v = 0; v < VECTORS; ++v) {
      T* to = outer.tile + (j * VECTORS + v) * kLanes<T>;
      store(to, outer.first ? sums[j][v] : load(to) + sums[j][v]);
    }
  }
}

template <class T>
using Multiply = void (*)(const Product<T>&);
template <class T>
using AddOuter = void (*)(const Outer<T>&);

#define HOLDFAST_BY_VECTORS(kernel, rows) \
  { kernel<T, rows, 1>, kernel<T, rows, 2>, kernel<T, rows, 3>, kernel<T, rows, 4> }
#define HOLDFAST_BY_ROWS(kernel)                                                                     \
  {                                                                                                  \
    HOLDFAST_BY_VECTORS(kernel, 1), HOLDFAST_BY_VECTORS(kernel, 2), HOLDFAST_BY_VECTORS(kernel, 3),  \
    HOLDFAST_BY_VECTORS(kernel, 4), HOLDFAST_BY_VECTORS(kernel, 5), HOLDFAST_BY_VECTORS(kernel, 6)   \
  }

// [rows - 1][vectors - 1]
template <class T>
constexpr Multiply<T> kMultiply[kMostTileRows][kMostVectors] = HOLDFAST_BY_ROWS(multiply);
// [columns - 1][vectors - 1]
template <class T>
constexpr AddOuter<T> kAddOuter[kMostTileRows][kMostVectors] = HOLDFAST_BY_ROWS(add_outer);

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
