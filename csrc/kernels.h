// What every level of instruction sets offers. level.cc fills one such table for each level it is compiled for.
#pragma once

#include <cstddef>

namespace holdfast {

struct Kernels {
  // The sum over k of a[k] * b[k]. a and b: n floats each, only read; they may overlap and need no alignment.
  // Order: partial sum j takes k = j, j + 64, j + 128, ...; then the 64 partial sums are folded in halves, j and
  // j + 32, j and j + 16, ... The order is the same at every level, so levels with a fused multiply-add give the
  // same bits; without one each product is rounded before it is added.
  float (*dot)(const float* a, const float* b, std::size_t n);
};

}  // namespace holdfast
