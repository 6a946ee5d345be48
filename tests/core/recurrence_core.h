// Both passes of the core over a problem, and how far what they write may be from the loop of naive_recurrence.h: as
// twice the loop in its own type is from the loop in a wider one, or 8 units in the last place of the largest number,
// of its own or for gradients of those of the gates, whose sums they are. The loop's distance is relative to the
// largest number, and for gradients of weights it is that of the worst of them: each is a sum over the same rows, and
// where it is a few numbers only, the loop may by luck be closer to it than its rounding makes it on average.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>

#include "check.h"
#include "dispatch.h"
#include "memory.h"
#include "naive_recurrence.h"
#include "stack.h"

#ifndef HOLDFAST_LEVEL
#define HOLDFAST_LEVEL named
#endif
#include "generated/cells.h"

#define HOLDFAST_INDEX(index, cell) k_##cell = index,
enum Cells { HOLDFAST_CELLS(HOLDFAST_INDEX) };

inline int cell_of(const Case& c) {
  if (c.full()) return c.has(kPeephole) ? k_peephole_full : k_lstm_full;
  return c.has(kPeephole) ? k_peephole : k_lstm;
}

inline bool is_written(const Case& c, int part) {
  if (part == kBias) return c.has(kBiases);
  if (part == kAtH || part == kAtC) return c.full();
  return c.has(kPeephole) || (part != kPeepholeI && part != kPeepholeF && part != kPeepholeO);
}

inline bool is_of_weights(int part) { return part >= kInput && part <= kPeepholeO; }

template <class T>
class Core {
 public:
  Core(const holdfast::Kernels& kernels, const Problem<T>& problem, int threads)
      : kernels_(kernels), p(problem), c(problem.c), reset_(new bool[p.reset.size() + 1]) {
    for (auto& value : values_) fill_with_nan(value, size_of(c, kGateI));
    set_inputs(threads);
  }

  // Returns what is written, NaN where nothing is.
  const Results<T>& run() {
    check_split();
    fill_results();
    forward(true);
    // A pass that keeps nothing gives the same, and so does one that wants no gradients of the weights.
    const Results<T> kept = results;
    fill_results();
    forward(false);
    for (int k : {kOutput, kLastH, kLastC}) CHECK(same(kept.parts[k], results.parts[k]));
    backward(false);
    const Results<T> lean = results;
    backward(true);
    for (int k = kX; k < kParts; ++k) CHECK(is_of_weights(k) || same(lean.parts[k], results.parts[k]));
    return results;
  }

  static bool same(const std::vector<T>& a, const std::vector<T>& b) {
    return a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
  }

  Results<T> results;

 private:
  static void fill_with_nan(std::vector<T>& numbers, Index size) {
    numbers.reserve(size + (size == 0));
    numbers.assign(size, std::numeric_limits<T>::quiet_NaN());
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

  T* part(int k) { return results.parts[k].data(); }

  void set_inputs(int threads) {
    inputs_.cell = cell_of(c);
    inputs_.threads = threads;
    inputs_.sizes = {c.steps, c.batch, c.inputs, c.hidden, c.layers, c.directions, 0};
    inputs_.x = {p.x.data(), p.x_at(1, 0), p.x_at(0, 1)};
    set_weights();
    std::copy(p.reset.begin(), p.reset.end(), reset_.get());
    for (int s = 0; s < 2; ++s) {
      inputs_.state[s] = c.has(kInitial) ? p.initial[s].data() : nullptr;
      inputs_.start[s] = c.has(kStarts) ? p.starts[s].data() : nullptr;
    }
    inputs_.lengths = c.has(kLengths) ? p.lengths.data() : nullptr;
    inputs_.reset = c.has(kReset) ? reset_.get() : nullptr;
    inputs_.seed = p.seed;
    if (c.full()) std::copy(std::begin(p.draws), std::end(p.draws), inputs_.draws);
    if (c.full()) std::copy(std::begin(p.scalars), std::end(p.scalars), inputs_.scalars);
    inputs_.entering = p.entering;
    inputs_.entering_scale = p.entering_scale;
    for (const auto& own : p.factors) factors_.push_back(own.data());
    inputs_.masks = factors_.empty() ? nullptr : factors_.data();
    inputs_.residual = c.has(kResidual);
  }

  void set_weights() {
    const bool biases = c.has(kBiases);
    for (int place = 0; place < c.places(); ++place) {
      weights_.push_back({p.input[place].data(), p.recurrent[place].data(),
                          biases ? p.bias_ih[place].data() : nullptr, biases ? p.bias_hh[place].data() : nullptr,
                          {p.peepholes[0][place].data(), p.peepholes[1][place].data(), p.peepholes[2][place].data()},
                          {}});
    }
    inputs_.weights = weights_.data();
  }

  void forward(bool keep) {
    holdfast::Outputs<T> outputs{};
    outputs.output = part(kOutput);
    outputs.state[0] = part(kLastH);
    outputs.state[1] = part(kLastC);
    for (int k = 0; k < kValues && keep; ++k) outputs.values[k] = values_[k].data();
    holdfast::forward(kernels_, inputs_, outputs);
  }

  void backward(bool wants_weights) {
    holdfast::Upstream<T> upstream{};
    for (int k = 0; k < kValues; ++k) upstream.values[k] = values_[k].data();
    if (!c.has(kQuiet)) upstream.output = {p.d_output.data(), c.batch * c.width(), c.width()};
    holdfast::Gradients<T> to{};
    const std::vector<holdfast::WeightGradients<T>> weights = weight_gradients();
    to.weights = wants_weights ? weights.data() : nullptr;
    to.x = part(kX);
    for (int s = 0; s < 2; ++s) {
      upstream.state[s] = p.d_last[s].data();
      upstream.states_at[s] = c.has(kQuiet) ? nullptr : p.d_at[s].data();
      to.state[s] = part(kInitialH + s);
      to.start[s] = part(kStartH + s);
      to.states_at[s] = c.full() ? part(kAtH + s) : nullptr;
    }
    for (int g = 0; g < 4; ++g) to.gates[g] = part(kGateI + g);
    holdfast::backward(kernels_, inputs_, upstream, to);
  }

  std::vector<holdfast::WeightGradients<T>> weight_gradients() {
    std::vector<holdfast::WeightGradients<T>> weights;
    Index input = 0;
    for (int place = 0; place < c.places(); ++place) {
      const Index units = place * c.hidden;
      weights.push_back({part(kInput) + input, part(kRecurrent) + units * 4 * c.hidden,
                         c.has(kBiases) ? part(kBias) + units * 4 : nullptr,
                         {part(kPeepholeI) + units, part(kPeepholeF) + units, part(kPeepholeO) + units}, {}});
      input += 4 * c.hidden * c.width_of(place / c.directions);
    }
    return weights;
  }

  static constexpr int kValues = 6;
  const holdfast::Kernels& kernels_;
  const Problem<T>& p;
  const Case& c;
  std::unique_ptr<bool[]> reset_;
  holdfast::Inputs<T> inputs_{};
  std::vector<holdfast::Weights<T>> weights_;
  std::vector<const T*> factors_;
  std::vector<T> values_[kValues];
};

// The largest distance of two arrays, NaN if one holds NaN.
template <class A, class B>
double distance(const std::vector<A>& a, const std::vector<B>& b) {
  double most = 0;
  for (std::size_t k = 0; k < a.size(); ++k) {
    const double own = double(std::abs(a[k] - A(b[k])));
    if (!(own <= most)) most = own;
    if (std::isnan(most)) break;
  }
  return most;
}

template <class T>
double largest_of(const std::vector<T>& numbers) {
  double largest = 0;
  for (T own : numbers) largest = std::max(largest, double(std::abs(own)));
  return largest;
}

// How far the loop in its own type is off, as a part of the largest number.
template <class T, class Wide>
double relative_error(const Results<Wide>& wide, const Results<T>& own, int part) {
  const double largest = largest_of(wide.parts[part]);
  return largest > 0 ? distance(wide.parts[part], own.parts[part]) / largest : 0;
}

template <class T, class Wide>
double own_error(const Case& c, const Results<Wide>& wide, const Results<T>& own, int part) {
  double error = relative_error(wide, own, part);
  for (int other = 0; other < kParts && is_of_weights(part); ++other) {
    if (is_of_weights(other) && is_written(c, other)) error = std::max(error, relative_error(wide, own, other));
  }
  return error * largest_of(wide.parts[part]);
}

template <class T, class Wide>
void compare(const Case& c, const char* level, const Results<T>& got, const Results<Wide>& wide,
             const Results<T>& own) {
  for (int part = 0; part < kParts; ++part) {
    if (!is_written(c, part)) continue;
    double largest = largest_of(wide.parts[part]);
    for (int g = kGateI; g <= kGateO && part > kLastC; ++g) largest = std::max(largest, largest_of(wide.parts[g]));
    const double error = distance(wide.parts[part], got.parts[part]);
    const double epsilon = double(std::numeric_limits<T>::epsilon());
    const double allowed = std::max(2 * own_error(c, wide, own, part), 8 * epsilon * largest);
    if (error <= allowed) continue;
    ++failures;
    std::printf("%s, %s, float%d, %s: off by %g, allowed %g, largest %g\n", level, name(c).c_str(), int(8 * sizeof(T)),
                kNames[part], error, allowed, largest);
  }
}

// At each level that this processor runs; on several threads the bits are the same.
template <class T, class Wide>
void run_case(const Case& c, unsigned seed) {
  const Problem<T> problem(c, seed);
  const Naive<Wide, T> wide(problem);
  const Naive<T, T> own(problem);
  for (const holdfast::Level* level : holdfast::usable_levels()) {
    const std::string text(level->name);
    const Results<T> alone = Core<T>(*level->kernels, problem, 1).run();
    compare(c, text.c_str(), alone, wide.results, own.results);
    for (int threads : {2, 3}) {
      Core<T> core(*level->kernels, problem, threads);
      core.run();
      for (int part = 0; part < kParts; ++part) {
        if (!is_written(c, part) || Core<T>::same(alone.parts[part], core.results.parts[part])) continue;
        ++failures;
        std::printf("%s, %s, %d threads: other bits in %s\n", text.c_str(), name(c).c_str(), threads, kNames[part]);
      }
    }
    CHECK(holdfast::in_use() == 0);
  }
}
