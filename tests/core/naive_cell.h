// One step of one row and back, written as plainly as can be: one number at a time, in the order of the equations. The
// cell is lstm; what the others have besides is written where it comes in.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "recurrence_problem.h"

// What a step leaves.
template <class R>
struct NaiveRow {
  using Units = std::vector<R>;
  Units old[kMostCaseStates], state[kMostCaseStates];
  Units entering;                                           // what weight_hh reads
  Units input[kMostCaseGates], recurrent[kMostCaseGates];   // layernorm's: W x and R h, normalised
  Units gate[kMostCaseGates];
  Units used_g, raw_c, new_c;        // raw_c: before it is clipped; new_c: before any of the old one is kept
  Units normal_c, inner, given;      // what h takes the tanh of, and what is then projected
  R scale_input, scale_recurrent, scale_c;  // by which was multiplied to normalise
  std::vector<char> drop_g, keep_c, keep_h, drop_h;
};

// The bfloat16 that is nearest.
inline float rounded(float number) {
  std::uint32_t bits;
  std::memcpy(&bits, &number, sizeof bits);
  bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000;
  std::memcpy(&number, &bits, sizeof bits);
  return number;
}

// R: the type to compute in. One layer and direction.
template <class R, class T>
class NaiveCell {
 public:
  using Units = std::vector<R>;

  // If it rounds, products with weight_ih and weight_hh are of bfloat16.
  NaiveCell(const Problem<T>& problem, int place_, bool rounds_, Results<R>& results_)
      : p(problem),
        c(problem.c),
        place(place_),
        rounds(rounds_),
        width(c.width_of(place / c.directions)),
        results(results_) {}

  // `old`, `entering` and the masks of the row are there.
  void forward(const R* x, NaiveRow<R>& row) const {
    activate_with_products(x, row);
    for (Units* units : {&row.used_g, &row.raw_c, &row.new_c, &row.normal_c, &row.inner, &row.given}) {
      units->resize(c.hidden);
    }
    for (Index u = 0; u < c.hidden; ++u) renew_c(row, u);
    row.normal_c = row.new_c;
    if (c.has(kLayernorm)) row.scale_c = normalise({&row.normal_c});
    for (Index u = 0; u < c.hidden; ++u) renew_h(row, u);
    finish(row);
  }

  // d_state: all that reaches the states after the step, then what reaches those before; that of the old h lacks what
  // reaches it through weight_hh, which is d_entering. `at`: of the row's first unit among all steps and rows.
  void backward(const R* x, const NaiveRow<R>& row, Index at, Units* d_state, R* d_x, Units& d_entering) {
    show(kAt + kH, at * c.own_width(), d_state[kH]);
    Units d_given = unproject(row, d_state[kH]), d_new_c(c.hidden), d_gate[kMostCaseGates];
    for (int g = 0; g < c.gates(); ++g) d_gate[g].resize(c.hidden);
    for (Index u = 0; u < c.hidden; ++u) back_to_inner(row, u, d_given[u], d_gate, d_new_c[u]);
    if (c.has(kLayernorm)) unnormalise({&d_new_c}, {&row.normal_c}, row.scale_c);
    for (Index u = 0; u < c.hidden; ++u) back_to_gates(row, u, at, d_state, d_gate, d_new_c[u]);
    for (Index u = 0; u < c.hidden && c.has(kMoreGates) && c.projected; ++u) d_state[kC][u] += d_given[u];
    if (c.has(kGateRecurrence)) back_to_old_gates(row, d_gate, d_state);
    for (int g = 0; g < c.gates(); ++g) {
      show(kGate + g, at * c.hidden, d_gate[g]);
      for (Index u = 0; u < c.hidden; ++u) of_place(kBias, c.gates() * c.hidden)[g * c.hidden + u] += d_gate[g][u];
    }
    back_to_products(x, row, d_gate, d_x, d_entering);
  }

 private:
  static R sigmoid(R x) { return 1 / (1 + std::exp(-x)); }

  R scalar(int k) const { return R(p.scalars[k]); }
  R parameter(int k, Index u) const { return R(p.parameters[k][place][u]); }
  bool peeps() const { return !c.has(kLayernorm) && c.has(kPeephole | kGateRecurrence); }
  R peephole(int k, Index u) const { return peeps() ? parameter(k, u) : R(0); }
  R* of_place(int part, Index size) { return results.parts[part].data() + (size_of(c, part) ? place * size : 0); }
  void add_to(int part, Index u, R gradient) { of_place(part, c.hidden)[u] += gradient; }

  void show(int part, Index at, const Units& gradient) {
    if (is_written(c, part)) std::copy(gradient.begin(), gradient.end(), results.parts[part].begin() + at);
  }

  // Of all numbers together; returns by what each was multiplied.
  static R normalise(const std::vector<Units*>& all) {
    R count = 0, sum = 0, squares = 0;
    for (const Units* units : all) {
      for (R value : *units) count += 1, sum += value;
    }
    const R mean = sum / count;
    for (const Units* units : all) {
      for (R value : *units) squares += (value - mean) * (value - mean);
    }
    const R scale = 1 / std::sqrt(squares / count + R(1e-5));
    for (Units* units : all) {
      for (R& value : *units) value = (value - mean) * scale;
    }
    return scale;
  }

  // From the gradients of what `normalise` left to those of what it got.
  static void unnormalise(const std::vector<Units*>& gradients, const std::vector<const Units*>& normal, R scale) {
    R count = 0, mean = 0, product = 0;
    for (std::size_t k = 0; k < gradients.size(); ++k) {
      for (std::size_t u = 0; u < gradients[k]->size(); ++u) {
        const R gradient = (*gradients[k])[u];
        count += 1, mean += gradient, product += gradient * (*normal[k])[u];
      }
    }
    mean /= count, product /= count;
    for (std::size_t k = 0; k < gradients.size(); ++k) {
      for (std::size_t u = 0; u < gradients[k]->size(); ++u) {
        R& gradient = (*gradients[k])[u];
        gradient = scale * (gradient - mean - (*normal[k])[u] * product);
      }
    }
  }

  static R product(R sum, const T* weights, const R* read, Index count) {
    for (Index k = 0; k < count; ++k) sum += R(weights[k]) * read[k];
    return sum;
  }

  R operand(R number) const { return rounds ? R(rounded(float(number))) : number; }

  R operands_product(R sum, const T* weights, const R* read, Index count) const {
    for (Index k = 0; k < count; ++k) sum += operand(R(weights[k])) * operand(read[k]);
    return sum;
  }

  // The gates but for o, of which what it sees of c is missing.
  void activate_with_products(const R* x, NaiveRow<R>& row) const {
    std::vector<Units*> inputs, recurrents;
    for (int g = 0; g < c.gates(); ++g) {
      for (Index u = 0; u < c.hidden; ++u) {
        const Index of = g * c.hidden + u;
        const T* input = p.input[place].data() + of * width;
        const T* recurrent = p.recurrent[place].data() + of * c.own_width();
        const R bias = R(p.bias_ih[place][of]) + R(p.bias_hh[place][of]);
        if (c.has(kLayernorm)) {
          row.input[g].push_back(operands_product(0, input, x, width));
          row.recurrent[g].push_back(operands_product(0, recurrent, row.entering.data(), c.own_width()));
          row.gate[g].push_back(bias);
        } else {
          const R of_x = operands_product(bias, input, x, width);
          row.gate[g].push_back(operands_product(of_x, recurrent, row.entering.data(), c.own_width()));
        }
      }
      inputs.push_back(&row.input[g]), recurrents.push_back(&row.recurrent[g]);
    }
    if (c.has(kLayernorm)) row.scale_input = normalise(inputs), row.scale_recurrent = normalise(recurrents);
    for (Index u = 0; u < c.hidden; ++u) add_to_products(row, u);
  }

  void add_to_products(NaiveRow<R>& row, Index u) const {
    for (int g = 0; g < c.gates() && c.has(kLayernorm); ++g) {
      row.gate[g][u] += parameter(kAlpha + g, u) * row.input[g][u] + parameter(kBeta + g, u) * row.recurrent[g][u];
    }
    constexpr int kRows[] = {kI, kF, kO};
    for (Index k = 0; k < 3 && c.has(kGateRecurrence); ++k) {
      const T* weights = p.gate_matrix[place].data() + (k * c.hidden + u) * 3 * c.hidden;
      R& gate = row.gate[kRows[k]][u];
      for (int other = 0; other < 3; ++other) {
        gate = product(gate, weights + other * c.hidden, row.old[kStateI + other].data(), c.hidden);
      }
    }
    row.gate[kI][u] = sigmoid(row.gate[kI][u] + peephole(kPeepholeI, u) * row.old[kC][u]);
    row.gate[kF][u] = sigmoid(row.gate[kF][u] + peephole(kPeepholeF, u) * row.old[kC][u]);
    row.gate[kG][u] = std::tanh(row.gate[kG][u]);
    if (!c.has(kMoreGates)) return;
    row.gate[kU][u] = sigmoid(row.gate[kU][u]);
    row.gate[kV][u] = std::tanh(row.gate[kV][u]);
    row.gate[kW][u] = sigmoid(row.gate[kW][u]);
  }

  void renew_c(NaiveRow<R>& row, Index u) const {
    row.used_g[u] = row.drop_g[u] ? R(0) : row.gate[kG][u] * scalar(kScaleG);
    R& raw = row.raw_c[u];
    raw = row.gate[kF][u] * row.old[kC][u] + row.gate[kI][u] * row.used_g[u];
    if (c.has(kMoreGates)) raw += row.gate[kU][u] * row.gate[kV][u];
    row.new_c[u] = std::min(std::max(raw, -scalar(kLimitC)), scalar(kLimitC));
  }

  void renew_h(NaiveRow<R>& row, Index u) const {
    row.inner[u] = row.new_c[u];
    if (c.has(kLayernorm)) row.inner[u] = parameter(kGammaC, u) * row.normal_c[u] + parameter(kBiasC, u);
    R& o = row.gate[kO][u];
    o = sigmoid(o + peephole(kPeepholeO, u) * row.new_c[u]);
    row.given[u] = o * std::tanh(row.inner[u]) + (c.has(kMoreGates) ? row.gate[kW][u] : R(0));
  }

  void finish(NaiveRow<R>& row) const {
    const R share_c = scalar(kZoneoutC), share_h = scalar(kZoneoutH);
    Units projected = row.given;
    if (c.projected) projected.resize(c.projected);
    for (Index k = 0; k < c.projected; ++k) {
      const T* weights = p.projection[place].data() + k * c.hidden;
      projected[k] = product(0, weights, row.given.data(), c.hidden);
      if (c.has(kMoreGates)) projected[k] += product(0, weights, row.old[kC].data(), c.hidden);
    }
    for (int s = 0; s < c.states(); ++s) row.state[s].resize(c.state_width(s));
    for (Index u = 0; u < c.own_width(); ++u) {
      const R old = row.old[kH][u];
      row.state[kH][u] = share_h * old + (1 - share_h) * (row.keep_h[u] ? old : projected[u]);
    }
    for (Index u = 0; u < c.hidden; ++u) {
      const R old = row.old[kC][u];
      row.state[kC][u] = share_c * old + (1 - share_c) * (row.keep_c[u] ? old : row.new_c[u]);
      if (!c.has(kGateRecurrence)) continue;
      row.state[kStateI][u] = row.gate[kI][u];
      row.state[kStateF][u] = row.gate[kF][u];
      row.state[kStateO][u] = row.gate[kO][u];
    }
  }

  // From all that reaches h to what reaches what was projected, and the part of the old h that was kept.
  Units unproject(const NaiveRow<R>& row, Units& d_h) {
    const R share = scalar(kZoneoutH);
    Units d_projected(c.own_width()), d_given(c.hidden);
    for (Index u = 0; u < c.own_width(); ++u) {
      d_projected[u] = row.keep_h[u] ? R(0) : (1 - share) * d_h[u];
      d_h[u] = share * d_h[u] + (row.keep_h[u] ? (1 - share) * d_h[u] : R(0));
    }
    if (!c.projected) return d_projected;
    for (Index k = 0; k < c.projected; ++k) {
      const T* weights = p.projection[place].data() + k * c.hidden;
      R* d_weights = of_place(kProjection, c.projection()) + k * c.hidden;
      for (Index u = 0; u < c.hidden; ++u) {
        d_given[u] += R(weights[u]) * d_projected[k];
        d_weights[u] += d_projected[k] * (row.given[u] + (c.has(kMoreGates) ? row.old[kC][u] : R(0)));
      }
    }
    return d_given;
  }

  // d_gate[kO]: of o itself.
  void back_to_inner(const NaiveRow<R>& row, Index u, R d_given, Units* d_gate, R& d_inner) {
    const R tanh_inner = std::tanh(row.inner[u]);
    d_gate[kO][u] = d_given * tanh_inner;
    d_inner = d_given * row.gate[kO][u] * (1 - tanh_inner * tanh_inner);
    if (c.has(kMoreGates)) d_gate[kW][u] = d_given * row.gate[kW][u] * (1 - row.gate[kW][u]);
    if (!c.has(kLayernorm)) return;
    add_to(kParameter + kBiasC, u, d_inner);
    add_to(kParameter + kGammaC, u, d_inner * row.normal_c[u]);
    d_inner *= parameter(kGammaC, u);
  }

  // To the pre-activations of all gates, and the old c.
  void back_to_gates(const NaiveRow<R>& row, Index u, Index at, Units* d_state, Units* d_gate, R d_new_c) {
    const R i = row.gate[kI][u], f = row.gate[kF][u], g = row.gate[kG][u], o = row.gate[kO][u], old = row.old[kC][u];
    const R share = scalar(kZoneoutC), d_c = d_state[kC][u];
    const bool own = c.has(kGateRecurrence);
    const R d_z_o = (d_gate[kO][u] + (own ? d_state[kStateO][u] : R(0))) * o * (1 - o);
    d_new_c += (row.keep_c[u] ? R(0) : (1 - share) * d_c) + d_z_o * peephole(kPeepholeO, u);
    if (is_written(c, kAt + kC)) {
      results.parts[kAt + kC][at * c.hidden + u] = c.has(kMasks | kShares) ? d_c : d_new_c;
    }
    const R d_raw = row.raw_c[u] < -scalar(kLimitC) || row.raw_c[u] > scalar(kLimitC) ? R(0) : d_new_c;
    const R d_z_i = (d_raw * row.used_g[u] + (own ? d_state[kStateI][u] : R(0))) * i * (1 - i);
    const R d_z_f = (d_raw * old + (own ? d_state[kStateF][u] : R(0))) * f * (1 - f);
    d_gate[kI][u] = d_z_i, d_gate[kF][u] = d_z_f, d_gate[kO][u] = d_z_o;
    d_gate[kG][u] = row.drop_g[u] ? R(0) : d_raw * i * scalar(kScaleG) * (1 - g * g);
    if (c.has(kMoreGates)) {
      const R more_u = row.gate[kU][u], more_v = row.gate[kV][u];
      d_gate[kU][u] = d_raw * more_v * more_u * (1 - more_u);
      d_gate[kV][u] = d_raw * more_u * (1 - more_v * more_v);
    }
    d_state[kC][u] = share * d_c + (row.keep_c[u] ? (1 - share) * d_c : R(0)) + d_raw * f +
                     d_z_i * peephole(kPeepholeI, u) + d_z_f * peephole(kPeepholeF, u);
    if (!peeps()) return;
    add_to(kParameter + kPeepholeI, u, d_z_i * old);
    add_to(kParameter + kPeepholeF, u, d_z_f * old);
    add_to(kParameter + kPeepholeO, u, d_z_o * row.new_c[u]);
  }

  void back_to_old_gates(const NaiveRow<R>& row, const Units* d_gate, Units* d_state) {
    constexpr int kRows[] = {kI, kF, kO};
    for (int other = 0; other < 3; ++other) d_state[kStateI + other].assign(c.hidden, R(0));
    for (Index k = 0; k < 3 * c.hidden; ++k) {
      const R d_z = d_gate[kRows[k / c.hidden]][k % c.hidden];
      const T* weights = p.gate_matrix[place].data() + k * 3 * c.hidden;
      R* d_weights = of_place(kGateMatrix, c.gate_matrix()) + k * 3 * c.hidden;
      for (Index n = 0; n < 3 * c.hidden; ++n) {
        const int state = int(kStateI + n / c.hidden);
        d_state[state][n % c.hidden] += d_z * R(weights[n]);
        d_weights[n] += d_z * row.old[state][n % c.hidden];
      }
    }
  }

  void back_to_products(const R* x, const NaiveRow<R>& row, const Units* d_gate, R* d_x, Units& d_entering) {
    Units d_input[kMostCaseGates], d_recurrent[kMostCaseGates];
    std::vector<Units*> inputs, recurrents;
    std::vector<const Units*> normal_inputs, normal_recurrents;
    for (int g = 0; g < c.gates(); ++g) {
      d_input[g] = d_recurrent[g] = d_gate[g];
      for (Index u = 0; u < c.hidden && c.has(kLayernorm); ++u) {
        add_to(kParameter + kAlpha + g, u, d_gate[g][u] * row.input[g][u]);
        add_to(kParameter + kBeta + g, u, d_gate[g][u] * row.recurrent[g][u]);
        d_input[g][u] *= parameter(kAlpha + g, u), d_recurrent[g][u] *= parameter(kBeta + g, u);
      }
      inputs.push_back(&d_input[g]), recurrents.push_back(&d_recurrent[g]);
      normal_inputs.push_back(&row.input[g]), normal_recurrents.push_back(&row.recurrent[g]);
    }
    if (c.has(kLayernorm)) {
      unnormalise(inputs, normal_inputs, row.scale_input);
      unnormalise(recurrents, normal_recurrents, row.scale_recurrent);
    }
    d_entering.assign(c.own_width(), R(0));
    for (Index k = 0; k < c.gates() * c.hidden; ++k) {
      const int g = int(k / c.hidden);
      back_product(p.input[place].data() + k * width, x, d_input[g][k % c.hidden], width,
                   results.parts[kInput].data() + input_begin(c, place) + k * width, d_x);
      back_product(p.recurrent[place].data() + k * c.own_width(), row.entering.data(), d_recurrent[g][k % c.hidden],
                   c.own_width(), of_place(kRecurrent, c.gates() * c.hidden * c.own_width()) + k * c.own_width(),
                   d_entering.data());
    }
  }

  // One row of the weights.
  void back_product(const T* weights, const R* read, R gradient, Index count, R* d_weights, R* d_read) const {
    gradient = operand(gradient);
    for (Index k = 0; k < count; ++k) {
      d_weights[k] += gradient * operand(read[k]), d_read[k] += gradient * operand(R(weights[k]));
    }
  }

  const Problem<T>& p;
  const Case& c;
  const int place;
  const bool rounds;
  const Index width;
  Results<R>& results;
};
