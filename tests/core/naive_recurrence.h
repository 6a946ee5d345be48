// What the core computes, written as plainly as can be: one number at a time, in the order of the equations. The cell
// is lstm with peepholes, which is lstm where they are 0.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "naive_masks.h"
#include "recurrence_problem.h"

// R: the type to compute in.
template <class R, class T>
class Naive {
 public:
  explicit Naive(const Problem<T>& problem) : p(problem), c(problem.c) {
    for (int part = 0; part < kParts; ++part) results.parts[part].assign(size_of(c, part), R(0));
    steps.resize(c.places() * c.steps * c.batch * c.hidden);
    for (int layer = 0; layer < c.layers; ++layer) {
      read.emplace_back(c.steps * c.batch * c.width_of(layer));
      given.emplace_back(c.steps * c.batch * c.width());
      each_step([&](Index t, Index b) { begin_layer(layer, t, b); });
      each_row([&](int d, Index b) { forward(layer, d, b); });
    }
    results.parts[kOutput] = given.back();
    d_given.assign(p.d_output.begin(), p.d_output.end());
    for (int layer = c.layers - 1; layer >= 0; --layer) {
      d_read.assign(read[layer].size(), R(0));
      each_row([&](int d, Index b) { backward(layer, d, b); });
      if (layer > 0) each_step([&](Index t, Index b) { leave_layer(layer, t, b); });
    }
    results.parts[kX] = d_read;
  }

  Results<R> results;

 private:
  struct Step {
    R i, f, g, o, c, h;
    R c_before, h_before, h_entering, used_g, new_c;  // new_c: before any of the old c is kept
    bool drop_g, keep_c, keep_h, drop_h;
  };

  template <class Work>
  void each_row(Work work) {
    for (int d = 0; d < c.directions; ++d) {
      for (Index b = 0; b < c.batch; ++b) work(d, b);
    }
  }

  // Those that are no padding.
  template <class Work>
  void each_step(Work work) {
    for (Index b = 0; b < c.batch; ++b) {
      for (Index t = 0; t < p.lengths[b]; ++t) work(t, b);
    }
  }

  static R sigmoid(R x) { return 1 / (1 + std::exp(-x)); }

  Index time(int d, Index b, Index n) const { return d == 1 ? p.lengths[b] - 1 - n : n; }
  Step* step(int place, Index t, Index b) { return steps.data() + ((place * c.steps + t) * c.batch + b) * c.hidden; }
  Index row_of(Index t, Index b) const { return t * c.batch + b; }
  R* read_at(int layer, Index t, Index b) { return read[layer].data() + row_of(t, b) * c.width_of(layer); }
  R factor(int layer, Index at) const { return c.has(kFactors) ? R(p.factors[layer - 1][at]) : R(1); }

  // What the layer reads, and where a residual begins.
  void begin_layer(int layer, Index t, Index b) {
    for (Index k = 0; k < c.width_of(layer); ++k) {
      const Index at = row_of(t, b) * c.width_of(layer) + k;
      read[layer][at] = layer == 0 ? R(p.x[p.x_at(t, b) + k]) : given[layer - 1][at] * factor(layer, at);
      if (layer > 0 && c.has(kResidual)) given[layer][at] = given[layer - 1][at];
    }
  }

  // From the gradient of what the layer read to that of what the one before gave.
  void leave_layer(int layer, Index t, Index b) {
    for (Index at = row_of(t, b) * c.width(); at < (row_of(t, b) + 1) * c.width(); ++at) {
      d_given[at] = d_read[at] * factor(layer, at) + (c.has(kResidual) ? d_given[at] : R(0));
    }
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
      const bool resets = p.reset[row_of(t, b)];
      if (d == 0 && resets) begin(p.starts, place * c.hidden);
      Step* own = step(place, t, b);
      for (Index u = 0; u < c.hidden; ++u) {
        own[u].h_before = h[u], own[u].c_before = cell[u];
        draw_masks(own[u], layer, d, t, b, u);
      }
      for (Index u = 0; u < c.hidden; ++u) {
        compute(own, place, u, read_at(layer, t, b));
        h[u] = own[u].h, cell[u] = own[u].c;
        given[layer][row_of(t, b) * c.width() + d * c.hidden + u] += own[u].h;
      }
      if (d == 1 && resets) begin(p.starts, place * c.hidden);
    }
    std::copy(h.begin(), h.end(), results.parts[kLastH].begin() + row);
    std::copy(cell.begin(), cell.end(), results.parts[kLastC].begin() + row);
  }

  void draw_masks(Step& s, int layer, int d, Index t, Index b, Index u) const {
    const auto taken = [&](const holdfast::Draw& draw, Index at) { return takes(draw, p.seed, layer, d, at, b, u); };
    s.drop_g = c.has(kMasks) && taken(p.draws[kDropG], t);
    s.keep_c = c.has(kMasks) && taken(p.draws[kKeepC], t);
    s.keep_h = c.has(kMasks) && taken(p.draws[kKeepH], t);
    s.drop_h = false;
    if (c.has(kEntering)) {
      Index began = t;  // the sequence in which the step is, in either direction
      while (began > 0 && !p.reset[row_of(began, b)]) --began;
      s.drop_h = taken(p.entering, began);
    }
    s.h_entering = s.drop_h ? R(0) : s.h_before * R(p.entering_scale);
  }

  void compute(Step* own, int place, Index u, const R* x) {
    const Index width = c.width_of(place / c.directions);
    R z[4];
    for (int g = 0; g < 4; ++g) {
      const Index row = g * c.hidden + u;
      const T *input = p.input[place].data() + row * width, *recurrent = p.recurrent[place].data() + row * c.hidden;
      z[g] = R(p.bias_ih[place][row]) + R(p.bias_hh[place][row]);
      for (Index k = 0; k < width; ++k) z[g] += R(input[k]) * x[k];
      for (Index k = 0; k < c.hidden; ++k) z[g] += R(recurrent[k]) * own[k].h_entering;
    }
    Step& s = own[u];
    const R share_c = R(p.scalars[kZoneoutC]), share_h = R(p.scalars[kZoneoutH]);
    s.i = sigmoid(z[0] + peephole(0, place, u) * s.c_before);
    s.f = sigmoid(z[1] + peephole(1, place, u) * s.c_before);
    s.g = std::tanh(z[2]);
    s.used_g = s.drop_g ? R(0) : s.g * R(p.scalars[kScaleG]);
    s.new_c = s.f * s.c_before + s.i * s.used_g;
    s.o = sigmoid(z[3] + peephole(2, place, u) * s.new_c);
    s.c = share_c * s.c_before + (1 - share_c) * (s.keep_c ? s.c_before : s.new_c);
    s.h = share_h * s.h_before + (1 - share_h) * (s.keep_h ? s.h_before : s.o * std::tanh(s.new_c));
  }

  R peephole(int k, int place, Index u) const { return R(p.peepholes[k][place][u]); }

  void backward(int layer, int d, Index b) {
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
      const bool resets = p.reset[row_of(t, b)];
      if (d == 1 && resets) give(kStartH, place * c.hidden);
      back_step(layer, d, t, b, d_h, d_c);
      if (d == 0 && resets) give(kStartH, place * c.hidden);
    }
    give(kInitialH, row);
  }

  // d_h and d_c: what reaches the states after step t, then what reaches those before it.
  void back_step(int layer, int d, Index t, Index b, std::vector<R>& d_h, std::vector<R>& d_c) {
    const int place = layer * c.directions + d;
    const Step* own = step(place, t, b);
    std::vector<R> d_entering(c.hidden);
    for (Index u = 0; u < c.hidden; ++u) {
      const Index at = ((place * c.steps + t) * c.batch + b) * c.hidden + u;
      R d_z[4];
      d_h[u] += d_given[row_of(t, b) * c.width() + d * c.hidden + u] + R(p.d_at[0][at]);
      d_c[u] += R(p.d_at[1][at]);
      back_unit(own[u], place, u, at, d_h[u], d_c[u], d_z);
      for (int g = 0; g < 4; ++g) {
        results.parts[kGateI + g][at] = d_z[g];
        back_product(layer, d, g * c.hidden + u, d_z[g], t, b, d_entering);
      }
    }
    for (Index u = 0; u < c.hidden; ++u) d_h[u] += own[u].drop_h ? R(0) : d_entering[u] * R(p.entering_scale);
  }

  // d_h and d_c: all that reaches the unit's states, then what reaches those before but for weight_hh.
  void back_unit(const Step& s, int place, Index u, Index at, R& d_h, R& d_c, R* d_z) {
    const R tanh_c = std::tanh(s.new_c), share_c = R(p.scalars[kZoneoutC]), share_h = R(p.scalars[kZoneoutH]);
    const R d_new_h = s.keep_h ? R(0) : (1 - share_h) * d_h;
    const R d_o = d_new_h * tanh_c * s.o * (1 - s.o);
    const R d_new_c =
        (s.keep_c ? R(0) : (1 - share_c) * d_c) + d_new_h * s.o * (1 - tanh_c * tanh_c) + d_o * peephole(2, place, u);
    results.parts[kAtH][at] = d_h;
    results.parts[kAtC][at] = c.has(kMasks | kShares) ? d_c : d_new_c;
    d_z[0] = d_new_c * s.used_g * s.i * (1 - s.i);
    d_z[1] = d_new_c * s.c_before * s.f * (1 - s.f);
    d_z[2] = s.drop_g ? R(0) : d_new_c * s.i * R(p.scalars[kScaleG]) * (1 - s.g * s.g);
    d_z[3] = d_o;
    d_h = share_h * d_h + (s.keep_h ? (1 - share_h) * d_h : R(0));
    d_c = share_c * d_c + (s.keep_c ? (1 - share_c) * d_c : R(0)) + d_new_c * s.f +
          d_z[0] * peephole(0, place, u) + d_z[1] * peephole(1, place, u);
    results.parts[kPeepholeI][place * c.hidden + u] += d_z[0] * s.c_before;
    results.parts[kPeepholeF][place * c.hidden + u] += d_z[1] * s.c_before;
    results.parts[kPeepholeO][place * c.hidden + u] += d_o * s.new_c;
  }

  // One row of the weights.
  void back_product(int layer, int d, Index gate, R d_z, Index t, Index b, std::vector<R>& d_entering) {
    const int place = layer * c.directions + d;
    const Index width = c.width_of(layer);
    const Step* own = step(place, t, b);
    const T *input = p.input[place].data() + gate * width, *recurrent = p.recurrent[place].data() + gate * c.hidden;
    const R* x = read_at(layer, t, b);
    R* d_x = d_read.data() + row_of(t, b) * width;
    R* d_input = results.parts[kInput].data() + input_begin(place) + gate * width;
    R* d_recurrent = results.parts[kRecurrent].data() + (place * 4 * c.hidden + gate) * c.hidden;
    results.parts[kBias][place * 4 * c.hidden + gate] += d_z;
    for (Index k = 0; k < width; ++k) d_input[k] += d_z * x[k], d_x[k] += d_z * R(input[k]);
    for (Index k = 0; k < c.hidden; ++k) {
      d_recurrent[k] += d_z * own[k].h_entering, d_entering[k] += d_z * R(recurrent[k]);
    }
  }

  Index input_begin(int place) const {
    Index begin = 0;
    for (int before = 0; before < place; ++before) begin += 4 * c.hidden * c.width_of(before / c.directions);
    return begin;
  }

  const Problem<T>& p;
  const Case& c;
  std::vector<std::vector<R>> read, given;  // by each layer, [T, B, width] and [T, B, D*H]
  std::vector<R> d_read, d_given;           // of the layer at which the backward pass is
  std::vector<Step> steps;                  // [L * D, T, B, H]
};
