// What a staged cell does between its stages: sums over the units of a row, and products.
#pragma once

namespace holdfast {

enum class CutKind {
  kNormalise,    // numbers target and target + 1: mean and 1 / sqrt(variance + epsilon) of all of `in` together
  kProduct,      // matrix `target` times what `in` is, side by side: `out`, so many blocks
  kMean,         // sum `target` by the number of units of all of `in`
  kProductBack,  // the gradients `in` of what kProduct gave: those of what it read
  kOuter,        // the gradient of matrix `target`, summed over all rows: gradients `in`, and in `out` what it read
};

enum class ArrayKind { kValue, kSlot, kOld, kUpstream };

constexpr int kMostArrays = 6;  // of a cut, on either side

struct Array {
  ArrayKind kind;
  int index;
};

struct Cut {
  int after;  // the stage after which it is done; -1: before the first one
  CutKind kind;
  int target;
  int in_count;
  Array in[kMostArrays];
  int out_count;
  Array out[kMostArrays];
};

}  // namespace holdfast
