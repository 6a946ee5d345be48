// Both passes of the core over a problem.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "dispatch.h"
#include "memory.h"
#include "own_cells.h"
#include "recurrence_problem.h"
#include "stack.h"

#ifndef HOLDFAST_LEVEL
#define HOLDFAST_LEVEL named
#endif
#include "generated/cells.h"
#include "generated/staged_cells.h"

#define HOLDFAST_INDEX(index, cell) k_##cell = index,
enum Cells { HOLDFAST_CELLS(HOLDFAST_INDEX) HOLDFAST_STAGED_CELLS(HOLDFAST_INDEX) };

inline int cell_of(const Case& c, const holdfast::Level& level) {
  if (c.has(kMoreGates)) return more_gates_at(level, c.projected > 0);
  const auto variant = [&](int plain, int full, int projected) {
    return c.projected ? projected : c.full() ? full : plain;
  };
  if (c.has(kLayernorm)) return variant(k_layernorm, k_layernorm_full, k_layernorm_projected);
  if (c.has(kGateRecurrence)) {
    return variant(k_full_gate_recurrence, k_full_gate_recurrence_full, k_full_gate_recurrence_projected);
  }
  if (c.has(kPeephole)) return variant(k_peephole, k_peephole_full, k_peephole_projected);
  return variant(k_lstm, k_lstm_full, k_lstm_projected);
}

template <class T>
class Core {
 public:
  Core(const holdfast::Level& level, const Problem<T>& problem, int threads, bool bfloat16)
      : kernels_(*level.kernels),
        p(problem),
        c(problem.c),
        shape_(holdfast::printed_cell(kernels_, cell_of(c, level)).shape),
        reset_(new bool[p.reset.size() + 1]) {
    const Index rows = c.places() * c.steps * c.batch;
    for (int k = 0; k < shape_.values; ++k) fill_with_nan(values_[k], rows * value_width(k));
    fill_with_nan(numbers_, rows * shape_.numbers);
    inputs_.cell = cell_of(c, level);
    inputs_.threads = threads;
    inputs_.bfloat16 = bfloat16;
    set_inputs();
  }

  // Returns what is written, NaN where nothing is.
  const Results<T>& run() {
    check_split();
    fill_results();
    forward(kKeepValues);
    for (int k = 0; k < shape_.values; ++k) CHECK(is_zero_in_padding(values_[k], value_width(k)));
    CHECK(is_zero_in_padding(numbers_, shape_.numbers));
    // A pass that keeps nothing gives the same, and so does one that wants no gradients of the weights.
    const Results<T> kept = results;
    fill_results();
    forward(kKeepNothing);
    for (int k = 0; k < kX; ++k) CHECK(same(kept.parts[k], results.parts[k]));
    backward(false);
    const Results<T> lean = results;
    backward(true);
    for (int k = kX; k < kParts; ++k) CHECK(is_of_weights(k) || same(lean.parts[k], results.parts[k]));
    return results;
  }

  // The same where the states are kept of every so many steps only.
  const Results<T>& run_again(Index every) {
    inputs_.recompute = every;
    fill_results();
    for (int s = 0; s < c.states(); ++s) {
      fill_with_nan(checkpoints_[s], c.places() * ((c.steps + every - 1) / every) * c.batch * c.state_width(s));
    }
    fill_with_nan(passed_, (c.layers - 1) * c.steps * c.batch * c.width());
    forward(kKeepCheckpoints);
    CHECK(is_zero_in_padding(passed_, c.width()));
    backward(true);
    inputs_.recompute = 0;
    return results;
  }

  static bool same(const std::vector<T>& a, const std::vector<T>& b) {
    return a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
  }

  Results<T> results;

 private:
  enum Keep { kKeepNothing, kKeepValues, kKeepCheckpoints };

  static void fill_with_nan(std::vector<T>& numbers, Index size) {
    numbers.reserve(size + (size == 0));
    numbers.assign(size, std::numeric_limits<T>::quiet_NaN());
  }

  Index value_width(int k) const { return shape_.narrow_values >> k & 1 ? c.own_width() : c.hidden; }

  // Rows [..., T, B, width].
  bool is_zero_in_padding(const std::vector<T>& numbers, Index width) const {
    for (Index at = 0; at < Index(numbers.size()); ++at) {
      const Index row = at / width;
      if (row / c.batch % c.steps >= p.lengths[row % c.batch] && numbers[at] != 0) return false;
    }
    return true;
  }

  void fill_results() {
    for (int part = 0; part < kParts; ++part) fill_with_nan(results.parts[part], size_of(c, part));
  }

  // Else a case that is about several workers could pass without them.
  void check_split() const {
    if (c.split == kAnySplit || inputs_.threads == 1) return;
    const int there = holdfast::Team(inputs_.threads).size();
    const holdfast::Call<T> call(kernels_, inputs_);
    CHECK(call.team.size() == there);
    if (there == inputs_.threads) CHECK(call.workers.share_rows == (c.split == kSharedRows));
  }

  T* part(int k) { return is_written(c, k) ? results.parts[k].data() : nullptr; }

  void set_inputs() {
    inputs_.sizes = {c.steps, c.batch, c.inputs, c.hidden, c.layers, c.directions, c.projected};
    inputs_.x = {c.sparse() ? nullptr : p.x.data(), p.x_at(1, 0), p.x_at(0, 1)};
    if (c.sparse()) inputs_.sparse.columns = p.columns.data();
    if (c.has(kEntries)) inputs_.sparse.first = p.first.data();
    if (c.has(kEntries) && !c.has(kIndices)) inputs_.sparse.factors = p.sparse_factors.data();
    set_weights();
    std::copy(p.reset.begin(), p.reset.end(), reset_.get());
    for (int s = 0; s < c.states(); ++s) {
      inputs_.state[s] = c.has(kInitial) ? p.initial[s].data() : nullptr;
      inputs_.start[s] = c.has(kStarts) ? p.starts[s].data() : nullptr;
    }
    inputs_.lengths = c.has(kLengths) ? p.lengths.data() : nullptr;
    inputs_.reset = c.has(kReset) ? reset_.get() : nullptr;
    inputs_.seed = p.seed;
    if (c.full()) std::copy(std::begin(p.draws), std::end(p.draws), inputs_.draws);
    if (c.full() || c.projected) std::copy(std::begin(p.scalars), std::end(p.scalars), inputs_.scalars);
    inputs_.entering = p.entering;
    inputs_.entering_scale = p.entering_scale;
    for (const auto& own : p.factors) factors_.push_back(own.data());
    inputs_.masks = factors_.empty() ? nullptr : factors_.data();
    inputs_.residual = c.has(kResidual);
  }

  void set_weights() {
    for (int place = 0; place < c.places(); ++place) {
      holdfast::Weights<T> own{};
      own.input = p.input[place].data();
      if (place < c.directions && c.sparse()) {
        tables_[place] = transposed(own.input, c.gates() * c.hidden, c.inputs);
        own.input = tables_[place].data();
      }
      own.recurrent = p.recurrent[place].data();
      if (c.has(kBiases)) own.bias_ih = p.bias_ih[place].data(), own.bias_hh = p.bias_hh[place].data();
      for (int k = 0; k < c.parameters(); ++k) own.parameters[k] = p.parameters[k][place].data();
      int matrices = 0;
      if (c.has(kGateRecurrence)) own.matrices[matrices++] = p.gate_matrix[place].data();
      if (c.projected) own.matrices[matrices++] = p.projection[place].data();
      CHECK(matrices == shape_.matrices && c.states() == shape_.states && c.gates() == shape_.gates);
      // A plain variant has no parameters of its own that are 0.
      CHECK(shape_.parameters == c.parameters());
      weights_.push_back(own);
    }
    inputs_.weights = weights_.data();
  }

  static std::vector<T> transposed(const T* matrix, Index rows, Index columns) {
    std::vector<T> turned(rows * columns);
    for (Index k = 0; k < rows * columns; ++k) turned[k % columns * rows + k / columns] = matrix[k];
    return turned;
  }

  void forward(Keep keep) {
    holdfast::Outputs<T> outputs{};
    outputs.output = part(kOutput);
    for (int s = 0; s < c.states(); ++s) {
      outputs.state[s] = part(kLast + s);
      if (keep == kKeepCheckpoints) outputs.checkpoints[s] = checkpoints_[s].data();
    }
    if (keep == kKeepCheckpoints) outputs.passed = passed_.data();
    if (keep == kKeepValues) outputs.numbers = numbers_.data();
    for (int k = 0; k < shape_.values && keep == kKeepValues; ++k) outputs.values[k] = values_[k].data();
    holdfast::forward(kernels_, inputs_, outputs);
  }

  void backward(bool wants_weights) {
    holdfast::Upstream<T> upstream{};
    if (inputs_.recompute) {
      for (int s = 0; s < c.states(); ++s) upstream.checkpoints[s] = checkpoints_[s].data();
      upstream.passed = passed_.data();
    } else {
      for (int k = 0; k < shape_.values; ++k) upstream.values[k] = values_[k].data();
      upstream.numbers = numbers_.data();
    }
    if (!c.has(kQuiet)) upstream.output = {p.d_output.data(), c.batch * c.width(), c.width()};
    holdfast::Gradients<T> to{};
    const std::vector<holdfast::WeightGradients<T>> weights = weight_gradients();
    to.weights = wants_weights ? weights.data() : nullptr;
    to.x = part(kX);
    for (int s = 0; s < c.states(); ++s) {
      upstream.state[s] = p.d_last[s].data();
      upstream.states_at[s] = c.has(kQuiet) ? nullptr : p.d_at[s].data();
      to.state[s] = part(kFirst + s);
      to.start[s] = part(kStart + s);
      to.states_at[s] = s < 2 ? part(kAt + s) : nullptr;
    }
    for (int g = 0; g < c.gates(); ++g) to.gates[g] = part(kGate + g);
    holdfast::backward(kernels_, inputs_, upstream, to);
    if (wants_weights && c.sparse()) turn_tables();
  }

  std::vector<holdfast::WeightGradients<T>> weight_gradients() {
    std::vector<holdfast::WeightGradients<T>> weights;
    for (int place = 0; place < c.places(); ++place) {
      const Index units = place * c.hidden, rows = units * c.gates();
      holdfast::WeightGradients<T> own{};
      own.input = part(kInput) + input_begin(c, place);
      own.recurrent = part(kRecurrent) + rows * c.own_width();
      own.bias = c.has(kBiases) ? part(kBias) + rows : nullptr;
      for (int k = 0; k < c.parameters(); ++k) own.parameters[k] = part(kParameter + k) + units;
      int matrices = 0;
      if (c.has(kGateRecurrence)) own.matrices[matrices++] = part(kGateMatrix) + place * c.gate_matrix();
      if (c.projected) own.matrices[matrices++] = part(kProjection) + place * c.projection();
      weights.push_back(own);
    }
    return weights;
  }

  // Of the first layer; the core gives tables.
  void turn_tables() {
    for (int d = 0; d < c.directions; ++d) {
      T* table = part(kInput) + input_begin(c, d);
      const std::vector<T> turned = transposed(table, c.inputs, c.gates() * c.hidden);
      std::copy(turned.begin(), turned.end(), table);
    }
  }

  const holdfast::Kernels& kernels_;
  const Problem<T>& p;
  const Case& c;
  const holdfast::CellShape& shape_;
  std::unique_ptr<bool[]> reset_;
  holdfast::Inputs<T> inputs_{};
  std::vector<holdfast::Weights<T>> weights_;
  std::vector<T> tables_[2];
  std::vector<const T*> factors_;
  std::vector<T> values_[holdfast::kMostValues], numbers_, checkpoints_[holdfast::kMostStates], passed_;
};
