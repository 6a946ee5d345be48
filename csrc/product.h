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

// A run of `length` columns of the rows of a tile.
template <class T>
Run<T> run_of(const T* const* rows, int count, Index length) {
  Run<T> run;
  for (int r = 0; r < count; ++r) run.rows[r] = rows[r];
  run.length = length;
  run.count = 1;
  run.stride = 0;
  return run;
}

// out[r, :] = begin[r][:] + sum over all runs of row r times panel [sum of lengths, panel_columns], of which `vectors`
// vectors from column `column` on are computed. `begin` may be null for zeros. Row r of `out` begins r * out_stride
// elements after it.
template <class T>
struct Product {
  const Run<T>* runs;
  int run_count;
  const T* panel;
  Index panel_columns;
  const T* const* begin;
  T* out;
  Index out_stride;
  Index column;
};

template <class T, int ROWS, int VECTORS>
void multiply(const Product<T>& product) {
  const Index panel_columns = product.panel_columns;
  Vec<T> sums[ROWS][VECTORS] = {};
  if (product.begin) {
    HOLDFAST_UNROLL
    for (int r = 0; r < ROWS; ++r) {
      HOLDFAST_UNROLL
      for (int v = 0; v < VECTORS; ++v) sums[r][v] = load(product.begin[r] + product.column + v * kLanes<T>);
    }
  }
  const T* panel = product.panel + product.column;
  for (int n = 0; n < product.run_count; ++n) {
    const Run<T>& run = product.runs[n];
    const T* rows[ROWS];
    HOLDFAST_UNROLL
    for (int r = 0; r < ROWS; ++r) rows[r] = run.rows[r];
    for (Index part = 0; part < run.count; ++part) {
      for (Index k = 0; k < run.length; ++k, panel += panel_columns) {
        Vec<T> columns[VECTORS];
        HOLDFAST_UNROLL
        for (int v = 0; v < VECTORS; ++v) {
          columns[v] = load(panel + v * kLanes<T>);
          keep_in_register<ROWS, (ROWS + 1) * VECTORS>(columns[v]);
        }
        HOLDFAST_UNROLL
        for (int r = 0; r < ROWS; ++r) {
          const Vec<T> element = broadcast<T>(rows[r][k]);
          HOLDFAST_UNROLL
          for (int v = 0; v < VECTORS; ++v) sums[r][v] = fma(element, columns[v], sums[r][v]);
        }
      }
      HOLDFAST_UNROLL
      for (int r = 0; r < ROWS; ++r) rows[r] += run.stride;
    }
  }
  T* out = product.out + product.column;
  HOLDFAST_UNROLL
  for (int r = 0; r < ROWS; ++r) {
    HOLDFAST_UNROLL
    for (int v = 0; v < VECTORS; ++v) store(out + r * product.out_stride + v * kLanes<T>, sums[r][v]);
  }
}

// Sums over slots of outer products: tile[j, :] += sum over n < count of left[n * left_stride + j] * right[n, :], where
// right is a panel [count, right_columns], of which `vectors` vectors count, and j < columns. The sum of one call is
// added to the tile as a whole.
template <class T>
struct Outer {
  const T* left;
  Index left_stride;
  const T* right;
  Index right_columns;
  Index count;
  T* tile;      // [columns, right_columns]
  bool first;   // the tile holds nothing yet
};

template <class T, int COLUMNS, int VECTORS>
void add_outer(const Outer<T>& outer) {
  Vec<T> sums[COLUMNS][VECTORS] = {};
  const T* left = outer.left;
  const T* right = outer.right;
  const Index right_columns = outer.right_columns;
  for (Index n = 0; n < outer.count; ++n, left += outer.left_stride, right += right_columns) {
    Vec<T> gates[VECTORS];
    HOLDFAST_UNROLL
    for (int v = 0; v < VECTORS; ++v) {
      gates[v] = load(right + v * kLanes<T>);
      keep_in_register<COLUMNS, (COLUMNS + 1) * VECTORS>(gates[v]);
    }
    HOLDFAST_UNROLL
    for (int j = 0; j < COLUMNS; ++j) {
      const Vec<T> element = broadcast<T>(left[j]);
      HOLDFAST_UNROLL
      for (int v = 0; v < VECTORS; ++v) sums[j][v] = fma(element, gates[v], sums[j][v]);
    }
  }
  HOLDFAST_UNROLL
  for (int j = 0; j < COLUMNS; ++j) {
    HOLDFAST_UNROLL
    for (int v = 0; v < VECTORS; ++v) {
      T* to = outer.tile + j * right_columns + v * kLanes<T>;
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

// All vectors of a panel, as many at a time as a register tile has.
template <class T>
void multiply_panel(Product<T> product, int rows, int vectors) {
  for (int v = 0; v < vectors; v += kMostVectors) {
    product.column = Index{v} * kLanes<T>;
    kMultiply<T>[rows - 1][(vectors - v < kMostVectors ? vectors - v : kMostVectors) - 1](product);
  }
}

// The same for sums of outer products, of so many columns.
template <class T>
void add_outer_panel(Outer<T> outer, int columns, int vectors) {
  for (int v = 0; v < vectors; v += kMostVectors) {
    kAddOuter<T>[columns - 1][(vectors - v < kMostVectors ? vectors - v : kMostVectors) - 1](outer);
    outer.right += Index{kMostVectors} * kLanes<T>;
    outer.tile += Index{kMostVectors} * kLanes<T>;
  }
}

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
