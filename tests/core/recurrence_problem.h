// The numbers of a case.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "recurrence_case.h"

// There is NaN, or an index that leads nowhere, in each place that must not be read.
template <class T>
struct Problem {
  Case c;
  std::mt19937_64 words;
  std::vector<std::int64_t> lengths;
  std::vector<char> reset;
  std::vector<T> x;  // [T, B, I], or [B, T, I] if batch_first; if sparse what the indices say
  std::vector<std::int64_t> first, columns;
  std::vector<T> sparse_factors;
  std::vector<T> initial[kMostCaseStates], starts[kMostCaseStates];
  // Of each layer and direction.
  std::vector<std::vector<T>> input, recurrent, bias_ih, bias_hh, gate_matrix, projection;
  std::vector<std::vector<T>> parameters[kMostCaseParameters];
  std::vector<T> d_output, d_last[kMostCaseStates], d_at[kMostCaseStates];
  std::vector<std::vector<T>> factors;  // [L - 1], of [T, B, D*W] each
  std::uint64_t seed;
  holdfast::Draw draws[holdfast::kMostMasks] = {}, entering = {};
  T entering_scale = 1;
  T scalars[kScalars] = {std::numeric_limits<T>::infinity(), 1, 0, 0, 0};

  Problem(const Case& c_, unsigned seed_) : c(c_), words(seed_), seed(words()) {
    for (Index b = 0; b < c.batch; ++b) lengths.push_back(c.has(kLengths) ? Index(words() % (c.steps + 1)) : c.steps);
    for (Index k = 0; k < c.steps * c.batch; ++k) reset.push_back(c.has(kReset) && words() % 4 == 0);
    c.sparse() ? set_sparse() : set_dense();
    set_states();
    set_weights();
    set_modifiers();
  }

  Index x_at(Index t, Index b) const { return (c.has(kBatchFirst) ? b * c.steps + t : t * c.batch + b) * c.inputs; }

 private:
  void set_dense() {
    x = draw(c.steps * c.batch * c.inputs, 1);
    for (Index t = 0; t < c.steps; ++t) {
      for (Index b = 0; b < c.batch; ++b) {
        if (t >= lengths[b]) spoil(x, x_at(t, b), c.inputs);
      }
    }
  }

  void set_sparse() {
    x = draw(c.steps * c.batch * c.inputs, 0);
    for (Index t = 0; t < c.steps; ++t) {
      for (Index b = 0; b < c.batch; ++b) {
        first.push_back(Index(columns.size()));
        const Index count = c.has(kNothing) ? 0 : c.has(kEntries) ? Index(words() % 4) : 1;
        for (Index k = 0; k < count; ++k) add_index(t, b);
      }
    }
    first.push_back(Index(columns.size()));
    columns.reserve(columns.size() + 1), sparse_factors.reserve(columns.size() + 1);
  }

  // Eighths: the sum of two, where an index comes twice, is exact.
  void add_index(Index t, Index b) {
    const T factor = c.has(kIndices) ? T(1) : T(Index(words() % 17) - 8) / 8;
    const Index column = Index(words() % c.inputs);
    const bool padding = t >= lengths[b];
    columns.push_back(padding ? -(std::int64_t(1) << 40) : column);
    sparse_factors.push_back(padding ? std::numeric_limits<T>::quiet_NaN() : factor);
    if (!padding) x[x_at(t, b) + column] += factor;
  }

  void set_states() {
    for (int s = 0; s < c.states(); ++s) {
      const Index own = c.places() * c.state_width(s), state = c.batch * own;
      initial[s] = draw(state, c.has(kInitial));
      starts[s] = draw(own, c.has(kStarts));
      d_last[s] = draw(state, 1);
      d_at[s] = draw(c.steps * state, !c.has(kQuiet));
      spoil_padding(d_at[s], c.places(), c.state_width(s));
    }
    d_output = draw(size_of(c, kOutput), !c.has(kQuiet));
    spoil_padding(d_output, 1, c.width());
  }

  void set_weights() {
    const double scale = 1 / std::sqrt(double(c.hidden));
    const Index rows = c.gates() * c.hidden;
    // Rows of many terms have small ones, lest all gates be as good as open or closed.
    const auto matrix = [&](Index width) {
      return draw(rows * width, 1 / std::sqrt(double(std::max(c.hidden, width))));
    };
    for (int place = 0; place < c.places(); ++place) {
      input.push_back(matrix(c.width_of(place / c.directions)));
      recurrent.push_back(matrix(c.own_width()));
      bias_ih.push_back(draw(rows, c.has(kBiases) ? scale : 0));
      bias_hh.push_back(draw(rows, c.has(kBiases) ? scale : 0));
      gate_matrix.push_back(draw(c.gate_matrix(), scale));
      projection.push_back(draw(c.projection(), scale));
      for (int k = 0; k < kMostCaseParameters; ++k) {
        parameters[k].push_back(draw(c.hidden, c.has(kPeephole) || c.has(kLayernorm) ? 1 : 0));
      }
    }
  }

  void set_modifiers() {
    if (c.has(kMasks)) {
      draws[kDropG] = taken(2, 0.25), draws[kKeepC] = taken(1, 0.4), draws[kKeepH] = taken(0, 0.1);
      scalars[kScaleG] = T(1 / (1 - 0.25));
    }
    if (c.has(kClip)) scalars[kLimitC] = T(0.3);
    if (c.has(kShares)) scalars[kZoneoutC] = T(0.3), scalars[kZoneoutH] = T(0.15);
    scalars[kZonedC] = c.has(kMasks | kShares);
    if (c.has(kEntering)) entering = taken(3, 0.35), entering_scale = T(1 / (1 - 0.35));
    for (int layer = 1; layer < c.layers && c.has(kFactors); ++layer) {
      factors.push_back(draw(c.steps * c.batch * c.width(), 1));
      for (T& factor : factors.back()) factor = factor < T(-0.5) ? T(0) : T(1 / 0.75);
      spoil_padding(factors.back(), 1, c.width());
    }
  }

  static holdfast::Draw taken(std::uint32_t stream, double probability) {
    return {stream, static_cast<std::uint64_t>(std::llround(std::ldexp(probability, 32)))};
  }

  std::vector<T> draw(Index n, double scale) {
    std::vector<T> numbers;
    numbers.reserve(n + (n == 0));  // an array of nothing has an address as well
    std::uniform_real_distribution<double> uniform(-scale, scale);
    for (Index k = 0; k < n; ++k) numbers.push_back(T(scale == 0 ? 0 : uniform(words)));
    return numbers;
  }

  static void spoil(std::vector<T>& numbers, Index from, Index count) {
    for (Index k = 0; k < count; ++k) numbers[from + k] = std::numeric_limits<T>::quiet_NaN();
  }

  void spoil_padding(std::vector<T>& numbers, Index sheets, Index width) const {
    for (Index row = 0; row < sheets * c.steps * c.batch; ++row) {
      if (row / c.batch % c.steps >= lengths[row % c.batch]) spoil(numbers, row * width, width);
    }
  }
};
