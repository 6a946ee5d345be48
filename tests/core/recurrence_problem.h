// What the passes of the core are tried on: sizes, what there is besides them, and the numbers of both.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "recurrence.h"

using holdfast::Index;

// What a case has besides its sizes. The cell is lstm.
enum Choice : unsigned {
  kPeephole = 1 << 0,
  kFull = 1 << 1,  // the variant of the cell with all modifiers, which do nothing but for kMasks and kShares
  kLengths = 1 << 2,
  kReset = 1 << 3,
  kStarts = 1 << 4,
  kInitial = 1 << 5,
  kBiases = 1 << 6,
  kBatchFirst = 1 << 7,
  kMasks = 1 << 8,      // drawn ones: g is dropped, c and h are kept
  kShares = 1 << 9,     // c and h keep a share of their old values
  kEntering = 1 << 10,  // the h that enters weight_hh is dropped
  kFactors = 1 << 11,   // so is what one layer passes on to the next
  kResidual = 1 << 12,
  kQuiet = 1 << 13,     // nothing reaches the output, nor the states before the last one
  kEverything = (1 << 14) - 1
};
constexpr const char* kChoices[] = {
    "peephole", "full",   "lengths",  "reset",   "starts",   "initial", "biases", "batch_first",
    "masks",    "shares", "entering", "factors", "residual", "quiet"};

// How the workers of a call are to split it, as far as the case is about that.
enum Split { kAnySplit, kOwnRows, kSharedRows };

struct Case {
  Index steps, batch, inputs, hidden;
  int layers, directions;
  unsigned choices;
  Split split = kAnySplit;

  bool has(unsigned choice) const { return choices & choice; }
  bool full() const { return has(kFull | kMasks | kShares); }
  int places() const { return layers * directions; }
  Index width() const { return directions * hidden; }
  Index width_of(int layer) const { return layer > 0 ? width() : inputs; }
};

inline std::string name(const Case& c) {
  std::string text = "lstm";
  const auto add = [&](const char* key, Index value) { text += std::string(" ") + key + std::to_string(value); };
  add("T", c.steps), add("B", c.batch), add("I", c.inputs), add("H", c.hidden), add("L", c.layers);
  add("D", c.directions);
  for (int k = 0; c.choices >> k; ++k) text += c.choices >> k & 1 ? std::string(" ") + kChoices[k] : "";
  return text;
}

// Everything that a pass writes; those of all layers and directions one after another.
enum Part {
  kOutput, kLastH, kLastC, kX, kInput, kRecurrent, kBias, kPeepholeI, kPeepholeF, kPeepholeO, kInitialH, kInitialC,
  kStartH, kStartC, kGateI, kGateF, kGateG, kGateO, kAtH, kAtC, kParts
};
constexpr const char* kNames[kParts] = {
    "output", "h", "c", "d_x", "d_input", "d_recurrent", "d_bias", "d_p_i", "d_p_f", "d_p_o", "d_h", "d_c",
    "d_start_h", "d_start_c", "d_i", "d_f", "d_g", "d_o", "d_h_at", "d_c_at"};

template <class T>
struct Results {
  std::vector<T> parts[kParts];
};

inline Index size_of(const Case& c, int part) {
  const Index places = c.places(), state = places * c.batch * c.hidden, rows = places * 4 * c.hidden;
  switch (part) {
    case kOutput: return c.steps * c.batch * c.width();
    case kX: return c.steps * c.batch * c.inputs;
    case kInput: return c.directions * 4 * c.hidden * (c.inputs + (c.layers - 1) * c.width());
    case kRecurrent: return rows * c.hidden;
    case kBias: return rows;
    case kLastH: case kLastC: case kInitialH: case kInitialC: return state;
    case kPeepholeI: case kPeepholeF: case kPeepholeO: case kStartH: case kStartC: return places * c.hidden;
    default: return c.steps * state;
  }
}

// In the order of the printed cells lstm_full and peephole_full.
enum Masks { kDropG, kKeepC, kKeepH };
enum Scalars { kLimitC, kScaleG, kZoneoutC, kZoneoutH, kZonedC, kScalars };

// The numbers of a case, and NaN in each place that must not be read.
template <class T>
struct Problem {
  Case c;
  std::mt19937_64 words;
  std::vector<std::int64_t> lengths;
  std::vector<char> reset;
  std::vector<T> x, initial[2], starts[2];  // x: [T, B, I], or [B, T, I] if batch_first
  std::vector<std::vector<T>> input, recurrent, bias_ih, bias_hh, peepholes[3];  // of each layer and direction
  std::vector<T> d_output, d_last[2], d_at[2];
  std::vector<std::vector<T>> factors;  // [L - 1], of [T, B, D*H] each
  std::uint64_t seed;
  holdfast::Draw draws[holdfast::kMostMasks] = {}, entering = {};
  T entering_scale = 1;
  T scalars[kScalars] = {std::numeric_limits<T>::infinity(), 1, 0, 0, 0};

  Problem(const Case& c_, unsigned seed_) : c(c_), words(seed_), seed(words()) {
    for (Index b = 0; b < c.batch; ++b) lengths.push_back(c.has(kLengths) ? Index(words() % (c.steps + 1)) : c.steps);
    for (Index k = 0; k < c.steps * c.batch; ++k) reset.push_back(c.has(kReset) && words() % 4 == 0);
    x = draw(c.steps * c.batch * c.inputs, 1);
    for (Index t = 0; t < c.steps; ++t) {
      for (Index b = 0; b < c.batch; ++b) {
        if (t >= lengths[b]) spoil(x, x_at(t, b), c.inputs);
      }
    }
    set_states();
    set_weights();
    set_modifiers();
  }

  Index x_at(Index t, Index b) const { return (c.has(kBatchFirst) ? b * c.steps + t : t * c.batch + b) * c.inputs; }

 private:
  void set_states() {
    const Index state = c.places() * c.batch * c.hidden;
    for (int s = 0; s < 2; ++s) {
      initial[s] = draw(state, c.has(kInitial));
      starts[s] = draw(c.places() * c.hidden, c.has(kStarts));
      d_last[s] = draw(state, 1);
      d_at[s] = draw(c.steps * state, !c.has(kQuiet));
      spoil_padding(d_at[s], c.places(), c.hidden);
    }
    d_output = draw(size_of(c, kOutput), !c.has(kQuiet));
    spoil_padding(d_output, 1, c.width());
  }

  void set_weights() {
    const double scale = 1 / std::sqrt(double(c.hidden));
    for (int place = 0; place < c.places(); ++place) {
      input.push_back(draw(4 * c.hidden * c.width_of(place / c.directions), scale));
      recurrent.push_back(draw(4 * c.hidden * c.hidden, scale));
      bias_ih.push_back(draw(4 * c.hidden, c.has(kBiases) ? scale : 0));
      bias_hh.push_back(draw(4 * c.hidden, c.has(kBiases) ? scale : 0));
      for (auto& own : peepholes) own.push_back(draw(c.hidden, c.has(kPeephole)));
    }
  }

  void set_modifiers() {
    if (c.has(kMasks)) {
      draws[kDropG] = taken(2, 0.25), draws[kKeepC] = taken(1, 0.4), draws[kKeepH] = taken(0, 0.1);
      scalars[kScaleG] = T(1 / (1 - 0.25));
    }
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
