// What the core computes, written as plainly as can be: layer by layer, row by row, step by step.
#pragma once

#include <algorithm>
#include <vector>

#include "naive_cell.h"
#include "naive_masks.h"

// R: the type to compute in.
template <class R, class T>
class Naive {
 public:
  explicit Naive(const Problem<T>& problem, bool rounds = false) : p(problem), c(problem.c) {
    for (int part = 0; part < kParts; ++part) results.parts[part].assign(size_of(c, part), R(0));
    results.parts[kBias].resize(c.places() * c.gates() * c.hidden);
    for (int place = 0; place < c.places(); ++place) cells.emplace_back(p, place, rounds, results);
    rows.resize(c.places() * c.steps * c.batch);
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
  Naive(const Naive&) = delete;

  Results<R> results;

 private:
  using Units = std::vector<R>;

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

  Index time(int d, Index b, Index n) const { return d == 1 ? p.lengths[b] - 1 - n : n; }
  Index row_of(Index t, Index b) const { return t * c.batch + b; }
  Index row_of(int place, Index t, Index b) const { return (place * c.steps + t) * c.batch + b; }
  R* read_at(int layer, Index t, Index b) { return read[layer].data() + row_of(t, b) * c.width_of(layer); }
  Index given_at(int d, Index t, Index b) const { return row_of(t, b) * c.width() + d * c.own_width(); }
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
    Units states[kMostCaseStates];
    const auto begin = [&](const std::vector<T>* from, Index row) {
      for (int s = 0; s < c.states(); ++s) {
        const auto first = from[s].begin() + row * c.state_width(s);
        states[s].assign(first, first + c.state_width(s));
      }
    };
    begin(p.initial, place * c.batch + b);
    for (Index n = 0; n < p.lengths[b]; ++n) {
      const Index t = time(d, b, n);
      const bool resets = p.reset[row_of(t, b)];
      if (d == 0 && resets) begin(p.starts, place);
      NaiveRow<R>& row = rows[row_of(place, t, b)];
      std::copy(states, states + c.states(), row.old);
      draw_masks(row, layer, d, t, b);
      cells[place].forward(read_at(layer, t, b), row);
      std::copy(row.state, row.state + c.states(), states);
      for (Index u = 0; u < c.own_width(); ++u) given[layer][given_at(d, t, b) + u] += row.state[kH][u];
      if (d == 1 && resets) begin(p.starts, place);
    }
    for (int s = 0; s < c.states(); ++s) {
      const Index at = (place * c.batch + b) * c.state_width(s);
      std::copy(states[s].begin(), states[s].end(), results.parts[kLast + s].begin() + at);
    }
  }

  void draw_masks(NaiveRow<R>& row, int layer, int d, Index t, Index b) const {
    const auto drawn = [&](bool is, const holdfast::Draw& draw, Index at, Index width) {
      std::vector<char> mask(width);
      for (Index u = 0; u < width && is; ++u) mask[u] = takes(draw, p.seed, layer, d, at, b, u);
      return mask;
    };
    row.drop_g = drawn(c.has(kMasks), p.draws[kDropG], t, c.hidden);
    row.keep_c = drawn(c.has(kMasks), p.draws[kKeepC], t, c.hidden);
    row.keep_h = drawn(c.has(kMasks), p.draws[kKeepH], t, c.own_width());
    Index began = t;  // the sequence in which the step is, in either direction
    while (began > 0 && !p.reset[row_of(began, b)]) --began;
    row.drop_h = drawn(c.has(kEntering), p.entering, began, c.own_width());
    for (Index u = 0; u < c.own_width(); ++u) {
      row.entering.push_back(row.drop_h[u] ? R(0) : row.old[kH][u] * R(p.entering_scale));
    }
  }

  void backward(int layer, int d, Index b) {
    const int place = layer * c.directions + d;
    Units d_states[kMostCaseStates];
    for (int s = 0; s < c.states(); ++s) {
      const auto first = p.d_last[s].begin() + (place * c.batch + b) * c.state_width(s);
      d_states[s].assign(first, first + c.state_width(s));
    }
    const auto give = [&](int part, Index row) {
      for (int s = 0; s < c.states(); ++s) {
        R* to = results.parts[part + s].data() + row * c.state_width(s);
        for (Index u = 0; u < c.state_width(s); ++u) to[u] += d_states[s][u], d_states[s][u] = 0;
      }
    };
    for (Index n = p.lengths[b] - 1; n >= 0; --n) {
      const Index t = time(d, b, n);
      const bool resets = p.reset[row_of(t, b)];
      if (d == 1 && resets) give(kStart, place);
      back_step(layer, d, t, b, d_states);
      if (d == 0 && resets) give(kStart, place);
    }
    give(kFirst, place * c.batch + b);
  }

  // d_states: what reaches the states after step t, then what reaches those before it.
  void back_step(int layer, int d, Index t, Index b, Units* d_states) {
    const int place = layer * c.directions + d;
    const NaiveRow<R>& row = rows[row_of(place, t, b)];
    const Index at = row_of(place, t, b);
    for (int s = 0; s < c.states(); ++s) {
      for (Index u = 0; u < c.state_width(s); ++u) d_states[s][u] += R(p.d_at[s][at * c.state_width(s) + u]);
    }
    for (Index u = 0; u < c.own_width(); ++u) d_states[kH][u] += d_given[given_at(d, t, b) + u];
    Units d_entering;
    R* d_x = d_read.data() + row_of(t, b) * c.width_of(layer);
    cells[place].backward(read_at(layer, t, b), row, at, d_states, d_x, d_entering);
    for (Index u = 0; u < c.own_width(); ++u) {
      d_states[kH][u] += row.drop_h[u] ? R(0) : d_entering[u] * R(p.entering_scale);
    }
  }

  const Problem<T>& p;
  const Case& c;
  std::vector<NaiveCell<R, T>> cells;       // [L * D]
  std::vector<NaiveRow<R>> rows;            // [L * D, T, B]
  std::vector<std::vector<R>> read, given;  // by each layer, [T, B, width] and [T, B, D*W]
  std::vector<R> d_read, d_given;           // of the layer at which the backward pass is
};
