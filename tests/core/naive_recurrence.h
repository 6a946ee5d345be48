// What the core computes, written as plainly as can be: one number at a time, in the order of the equations. The cell
// is lstm with peepholes, which is lstm where they are 0.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "recurrence.h"

using holdfast::Index;

struct Case {
  Index steps, batch, inputs, hidden;
  int layers, directions;
  bool peephole, full;  // full: the variant with all modifiers, which do nothing here
  bool lengths, reset, starts, initial, biases, batch_first;
};

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

inline Index width_of(const Case& c, int layer) { return layer > 0 ? c.directions * c.hidden : c.inputs; }
inline int places_of(const Case& c) { return c.layers * c.directions; }

inline Index size_of(const Case& c, int part) {
  const Index places = places_of(c), state = places * c.batch * c.hidden, rows = places * 4 * c.hidden;
  switch (part) {
    case kOutput: return c.steps * c.batch * c.directions * c.hidden;
    case kX: return c.steps * c.batch * c.inputs;
    case kInput: return c.directions * 4 * c.hidden * (c.inputs + (c.layers - 1) * c.directions * c.hidden);
    case kRecurrent: return rows * c.hidden;
    case kBias: return rows;
    case kLastH: case kLastC: case kInitialH: case kInitialC: return state;
    case kPeepholeI: case kPeepholeF: case kPeepholeO: case kStartH: case kStartC: return places * c.hidden;
    default: return c.steps * state;
  }
}

// The numbers of a case, and NaN in each place that must not be read.
template <class T>
struct Problem {
  Case c;
  std::mt19937 words;
  std::vector<std::int64_t> lengths;
  std::vector<char> reset;
  std::vector<T> x, initial[2], starts[2];  // x: [T, B, I], or [B, T, I] if batch_first
  std::vector<std::vector<T>> input, recurrent, bias_ih, bias_hh, peepholes[3];  // of each layer and direction
  std::vector<T> d_output, d_last[2], d_at[2];

  Problem(const Case& c_, unsigned seed) : c(c_), words(seed) {
    for (Index b = 0; b < c.batch; ++b) lengths.push_back(c.lengths ? Index(words() % (c.steps + 1)) : c.steps);
    for (Index k = 0; k < c.steps * c.batch; ++k) reset.push_back(c.reset && words() % 4 == 0);
    const Index state = places_of(c) * c.batch * c.hidden;
    x = draw(c.steps * c.batch * c.inputs, 1);
    for (Index t = 0; t < c.steps; ++t) {
      for (Index b = 0; b < c.batch; ++b) {
        if (t >= lengths[b]) spoil(x, x_at(t, b), c.inputs);
      }
    }
    for (int s = 0; s < 2; ++s) {
      initial[s] = draw(state, c.initial);
      starts[s] = draw(places_of(c) * c.hidden, c.starts);
      d_last[s] = draw(state, 1);
      d_at[s] = draw(c.steps * state, 1);
      spoil_padding(d_at[s], places_of(c), c.hidden);
    }
    d_output = draw(size_of(c, kOutput), 1);
    spoil_padding(d_output, 1, c.directions * c.hidden);
    const double scale = 1 / std::sqrt(double(c.hidden));
    for (int place = 0; place < places_of(c); ++place) {
      input.push_back(draw(4 * c.hidden * width_of(c, place / c.directions), scale));
      recurrent.push_back(draw(4 * c.hidden * c.hidden, scale));
      bias_ih.push_back(draw(4 * c.hidden, c.biases ? scale : 0));
      bias_hh.push_back(draw(4 * c.hidden, c.biases ? scale : 0));
      for (auto& own : peepholes) own.push_back(draw(c.hidden, c.peephole));
    }
  }

  Index x_at(Index t, Index b) const { return (c.batch_first ? b * c.steps + t : t * c.batch + b) * c.inputs; }

 private:
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

// R: the type to compute in.
template <class R, class T>
class Naive {
 public:
  explicit Naive(const Problem<T>& problem) : p(problem), c(problem.c) {
    for (int part = 0; part < kParts; ++part) results.parts[part].assign(size_of(c, part), R(0));
    layer_inputs.emplace_back(c.steps * c.batch * c.inputs);
    for (Index t = 0; t < c.steps; ++t) {
      for (Index b = 0; b < c.batch; ++b) {
        for (Index k = 0; k < c.inputs && t < p.lengths[b]; ++k) {
          layer_inputs[0][(t * c.batch + b) * c.inputs + k] = R(p.x[p.x_at(t, b) + k]);
        }
      }
    }
    steps.resize(places_of(c) * c.steps * c.batch * c.hidden);
    for (int layer = 0; layer < c.layers; ++layer) {
      layer_inputs.emplace_back(c.steps * c.batch * c.directions * c.hidden);
      each_row([&](int d, Index b) { forward(layer, d, b); });
    }
    results.parts[kOutput] = layer_inputs[c.layers];
    std::vector<R> d_above(p.d_output.begin(), p.d_output.end());
    for (int layer = c.layers - 1; layer >= 0; --layer) {
      std::vector<R> d_input(layer_inputs[layer].size());
      each_row([&](int d, Index b) { backward(layer, d, b, d_above, d_input); });
      d_above = d_input;
    }
    results.parts[kX] = d_above;
  }

  Results<R> results;

 private:
  struct Step {
    R i, f, g, o, c, h, c_before, h_before;
  };

  template <class Work>
  void each_row(Work work) {
    for (int d = 0; d < c.directions; ++d) {
      for (Index b = 0; b < c.batch; ++b) work(d, b);
    }
  }

  static R sigmoid(R x) { return 1 / (1 + std::exp(-x)); }

  Index time(int d, Index b, Index n) const { return d == 1 ? p.lengths[b] - 1 - n : n; }
  Step* step(int place, Index t, Index b) { return steps.data() + ((place * c.steps + t) * c.batch + b) * c.hidden; }
  R* input_at(int layer, Index t, Index b) {
    return layer_inputs[layer].data() + (t * c.batch + b) * width_of(c, layer);
  }

  void forward(int layer, int d, Index b) {
    const int place = layer * c.directions + d;
    std::vector<R> h(c.hidden), cell(c.hidden);
    const auto begin = [&](const std::vector<T>* states, Index at) {
      for (Index u = 0; u < c.hidden; ++u) h[u] = states[0][at + u], cell[u] = states[1][at + u];
    };
    const Index row = (place * c.batch + b) * c.hidden;
    begin(p.initial, row);
    for (Index n = 0; n < p.lengths[b]; ++n) {
      const Index t = time(d, b, n);
      const bool resets = p.reset[t * c.batch + b];
      if (d == 0 && resets) begin(p.starts, place * c.hidden);
      const std::vector<R> h_before = h;
      for (Index u = 0; u < c.hidden; ++u) {
        Step& s = step(place, t, b)[u];
        s.h_before = h_before[u], s.c_before = cell[u];
        compute(s, place, u, input_at(layer, t, b), h_before);
        h[u] = s.h, cell[u] = s.c;
        input_at(layer + 1, t, b)[d * c.hidden + u] = s.h;
      }
      if (d == 1 && resets) begin(p.starts, place * c.hidden);
    }
    std::copy(h.begin(), h.end(), results.parts[kLastH].begin() + row);
    std::copy(cell.begin(), cell.end(), results.parts[kLastC].begin() + row);
  }

  void compute(Step& s, int place, Index u, const R* x, const std::vector<R>& h) {
    const Index width = width_of(c, place / c.directions);
    R z[4];
    for (int g = 0; g < 4; ++g) {
      const Index row = g * c.hidden + u;
      z[g] = R(p.bias_ih[place][row]) + R(p.bias_hh[place][row]);
      for (Index k = 0; k < width; ++k) z[g] += R(p.input[place][row * width + k]) * x[k];
      for (Index k = 0; k < c.hidden; ++k) z[g] += R(p.recurrent[place][row * c.hidden + k]) * h[k];
    }
    s.i = sigmoid(z[0] + peephole(0, place, u) * s.c_before);
    s.f = sigmoid(z[1] + peephole(1, place, u) * s.c_before);
    s.g = std::tanh(z[2]);
    s.c = s.f * s.c_before + s.i * s.g;
    s.o = sigmoid(z[3] + peephole(2, place, u) * s.c);
    s.h = s.o * std::tanh(s.c);
  }

  R peephole(int k, int place, Index u) const { return R(p.peepholes[k][place][u]); }

  void backward(int layer, int d, Index b, const std::vector<R>& d_above, std::vector<R>& d_input) {
    const int place = layer * c.directions + d;
    const Index row = (place * c.batch + b) * c.hidden;
    std::vector<R> d_h(p.d_last[0].begin() + row, p.d_last[0].begin() + row + c.hidden);
    std::vector<R> d_c(p.d_last[1].begin() + row, p.d_last[1].begin() + row + c.hidden);
    const auto give = [&](int h_part, Index at) {
      for (Index u = 0; u < c.hidden; ++u) {
        results.parts[h_part][at + u] += d_h[u], results.parts[h_part + 1][at + u] += d_c[u];
        d_h[u] = d_c[u] = 0;
      }
    };
    for (Index n = p.lengths[b] - 1; n >= 0; --n) {
      const Index t = time(d, b, n);
      const bool resets = p.reset[t * c.batch + b];
      if (d == 1 && resets) give(kStartH, place * c.hidden);
      back_step(layer, d, t, b, d_above, d_input, d_h, d_c);
      if (d == 0 && resets) give(kStartH, place * c.hidden);
    }
    give(kInitialH, row);
  }

  // d_h and d_c: what reaches the states after step t, then what reaches those before it.
  void back_step(int layer, int d, Index t, Index b, const std::vector<R>& d_above, std::vector<R>& d_input,
                 std::vector<R>& d_h, std::vector<R>& d_c) {
    const int place = layer * c.directions + d;
    const Index width = width_of(c, layer);
    std::vector<R> d_h_before(c.hidden);
    for (Index u = 0; u < c.hidden; ++u) {
      const Step& s = step(place, t, b)[u];
      const Index at = ((place * c.steps + t) * c.batch + b) * c.hidden + u;
      const R tanh_c = std::tanh(s.c);
      const Index above = ((t * c.batch + b) * c.directions + d) * c.hidden + u;
      const R own_h = d_h[u] + d_above[above] + R(p.d_at[0][at]);
      const R d_o = own_h * tanh_c * s.o * (1 - s.o);
      const R own_c = d_c[u] + R(p.d_at[1][at]) + own_h * s.o * (1 - tanh_c * tanh_c) + d_o * peephole(2, place, u);
      const R d_z[4] = {own_c * s.g * s.i * (1 - s.i), own_c * s.c_before * s.f * (1 - s.f),
                        own_c * s.i * (1 - s.g * s.g), d_o};
      d_c[u] = own_c * s.f + d_z[0] * peephole(0, place, u) + d_z[1] * peephole(1, place, u);
      results.parts[kAtH][at] = own_h, results.parts[kAtC][at] = own_c;
      results.parts[kPeepholeI][place * c.hidden + u] += d_z[0] * s.c_before;
      results.parts[kPeepholeF][place * c.hidden + u] += d_z[1] * s.c_before;
      results.parts[kPeepholeO][place * c.hidden + u] += d_o * s.c;
      for (int g = 0; g < 4; ++g) {
        const Index gate = g * c.hidden + u;
        results.parts[kGateI + g][at] = d_z[g];
        results.parts[kBias][place * 4 * c.hidden + gate] += d_z[g];
        for (Index k = 0; k < width; ++k) {
          results.parts[kInput][input_begin(place) + gate * width + k] += d_z[g] * input_at(layer, t, b)[k];
          d_input[(t * c.batch + b) * width + k] += d_z[g] * R(p.input[place][gate * width + k]);
        }
        for (Index k = 0; k < c.hidden; ++k) {
          const Index weight = gate * c.hidden + k;
          results.parts[kRecurrent][place * 4 * c.hidden * c.hidden + weight] += d_z[g] * step(place, t, b)[k].h_before;
          d_h_before[k] += d_z[g] * R(p.recurrent[place][weight]);
        }
      }
    }
    d_h = d_h_before;
  }

  Index input_begin(int place) const {
    Index begin = 0;
    for (int before = 0; before < place; ++before) begin += 4 * c.hidden * width_of(c, before / c.directions);
    return begin;
  }

  const Problem<T>& p;
  const Case& c;
  std::vector<std::vector<R>> layer_inputs;  // [T, B, width] each, the last one what the last layer gives
  std::vector<Step> steps;                   // [L * D, T, B, H]
};
