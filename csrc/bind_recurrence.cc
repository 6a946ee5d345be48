// Calls of the recurrence from Python. Arrays come as addresses, 0 for null: what lies there is the caller's word,
// which src/holdfast/kernels/native.py gives after it looked at each tensor.
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "bind.h"
#include "dispatch.h"
#include "loaded_cells.h"
#include "recurrence.h"

// For the names and the digest of the printed cells alone: their code belongs to the levels.
#define HOLDFAST_LEVEL bound
#include "generated/cells.h"
#include "generated/staged_cells.h"

namespace nb = nanobind;

namespace holdfast {
namespace {

constexpr Index kMostOf32 = Index{1} << 31;  // steps and rows are numbered in 32 bits
using Address = std::uintptr_t;
using Addresses = std::vector<Address>;
using StridedAddress = std::tuple<Address, Index, Index>;  // base, step, row
using SparseAddresses = std::tuple<Address, Address, Address>;  // first, columns, factors
using StreamAndThreshold = std::tuple<std::uint32_t, std::uint64_t>;

#define HOLDFAST_NAME(index, cell) #cell,
constexpr const char* kCells[] = {HOLDFAST_CELLS(HOLDFAST_NAME) HOLDFAST_STAGED_CELLS(HOLDFAST_NAME)};
#undef HOLDFAST_NAME

template <class T>
T* array(Address address) {
  return reinterpret_cast<T*>(address);
}

template <class T>
Strided<T> strided(const StridedAddress& from) {
  return {array<T>(std::get<0>(from)), std::get<1>(from), std::get<2>(from)};
}

Draw draw(const StreamAndThreshold& from) { return {std::get<0>(from), std::get<1>(from)}; }

void check(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

void check_count(std::size_t count, std::size_t needed, const char* what) {
  if (count == needed) return;
  throw std::invalid_argument(std::to_string(count) + " " + what + ", needed are " + std::to_string(needed));
}

// Each of `from` in its place; `needed` of them, or none.
template <class To, std::size_t kMost, class From, class Convert>
void fill(To (&to)[kMost], const std::vector<From>& from, int needed, const char* what, Convert convert) {
  if (!from.empty()) check_count(from.size(), static_cast<std::size_t>(needed), what);
  std::transform(from.begin(), from.end(), to, convert);
}

template <class T, std::size_t kMost>
void fill(T* (&to)[kMost], const Addresses& from, int needed, const char* what) {
  fill(to, from, needed, what, array<T>);
}

// What both passes of one call read. Python makes it anew for each of them.
template <class T>
class BoundCall {
 public:
  BoundCall(int cell, int threads, const std::array<Index, 7>& sizes, const StridedAddress& x,
            const Addresses& weights, const Addresses& state, Address lengths, Address reset, const Addresses& start,
            std::uint64_t seed, const std::vector<StreamAndThreshold>& draws, const StreamAndThreshold& entering,
            double entering_scale, const std::vector<double>& scalars, const Addresses& masks, bool residual,
            const std::optional<SparseAddresses>& sparse, Index recompute, bool bfloat16)
      : shape_(shape_of(cell)) {
    inputs_.cell = cell;
    inputs_.threads = threads;
    inputs_.sizes = {sizes[0], sizes[1], sizes[2], sizes[3], static_cast<int>(sizes[4]), static_cast<int>(sizes[5]),
                     sizes[6]};
    inputs_.x = strided<const T>(x);
    inputs_.lengths = array<const std::int64_t>(lengths);
    inputs_.reset = array<const bool>(reset);
    inputs_.seed = seed;
    inputs_.entering = draw(entering);
    inputs_.entering_scale = static_cast<T>(entering_scale);
    inputs_.residual = residual;
    inputs_.recompute = recompute;
    inputs_.bfloat16 = bfloat16;
    check_sizes();
    if (sparse) set_sparse(*sparse);
    fill(inputs_.state, state, shape_.states, "states");
    fill(inputs_.start, start, shape_.states, "starts");
    fill(inputs_.draws, draws, shape_.masks, "draws", draw);
    check(scalars.size() <= kMostScalars, "there are more scalars than any cell has");
    std::transform(scalars.begin(), scalars.end(), inputs_.scalars, [](double own) { return static_cast<T>(own); });
    set_weights(weights);
    set_masks(masks);
  }
  BoundCall(const BoundCall&) = delete;
  BoundCall& operator=(const BoundCall&) = delete;

  void forward(Address output, const Addresses& state, const Addresses& values, Address numbers,
               const Addresses& checkpoints, Address passed) const {
    Outputs<T> outputs{};
    outputs.numbers = array<T>(numbers);
    fill(outputs.checkpoints, checkpoints, shape_.states, "checkpoints");
    outputs.passed = array<T>(passed);
    outputs.output = array<T>(output);
    check_count(state.size(), static_cast<std::size_t>(shape_.states), "states");
    fill(outputs.state, state, shape_.states, "states");
    fill(outputs.values, values, shape_.values, "values");
    const nb::gil_scoped_release unlocked;
    holdfast::forward(*active_level().kernels, inputs_, outputs);
  }

  void backward(const Addresses& values, const StridedAddress& d_output, const Addresses& d_state,
                const Addresses& d_states_at, Address x, const Addresses& weights, const Addresses& initial,
                const Addresses& start, const Addresses& gates, const Addresses& states_at, Address numbers,
                const Addresses& checkpoints, Address passed) const {
    Upstream<T> upstream{};
    upstream.output = strided<const T>(d_output);
    check(!inputs_.recompute || !checkpoints.empty(), "a call that recomputes needs its checkpoints");
    check(inputs_.recompute || !values.empty(), "a call that does not recompute needs its values");
    fill(upstream.checkpoints, checkpoints, shape_.states, "checkpoints");
    upstream.numbers = array<const T>(numbers);
    upstream.passed = array<const T>(passed);
    fill(upstream.values, values, shape_.values, "values");
    fill(upstream.state, d_state, shape_.states, "gradients of states");
    fill(upstream.states_at, d_states_at, shape_.states, "gradients of states at each step");
    const std::vector<WeightGradients<T>> of_weights = weight_gradients(weights);
    Gradients<T> gradients{};
    gradients.x = array<T>(x);
    gradients.weights = of_weights.empty() ? nullptr : of_weights.data();
    check_count(initial.size(), static_cast<std::size_t>(shape_.states), "states");
    fill(gradients.state, initial, shape_.states, "states");
    fill(gradients.start, start, shape_.states, "starts");
    fill(gradients.gates, gates, shape_.gates, "gates");
    fill(gradients.states_at, states_at, shape_.states, "states at each step");
    const nb::gil_scoped_release unlocked;
    holdfast::backward(*active_level().kernels, inputs_, upstream, gradients);
  }

 private:
  static const CellShape& shape_of(int cell) {
    return printed_cell(*active_level().kernels, cell).shape;
  }

  std::size_t places() const { return static_cast<std::size_t>(inputs_.sizes.layers * inputs_.sizes.directions); }

  void check_sizes() const {
    const Sizes& sizes = inputs_.sizes;
    check(sizes.steps >= 0 && sizes.batch >= 0 && sizes.inputs >= 0, "T, B and I must not be negative");
    check(sizes.hidden > 0 && sizes.layers > 0, "H and L must be positive");
    check(sizes.directions == 1 || sizes.directions == 2, "D must be 1 or 2");
    check(inputs_.threads > 0, "threads must be positive");
    check(sizes.projected >= 0 && inputs_.recompute >= 0, "P and recompute must not be negative");
    check(!inputs_.bfloat16 || active_level().kernels->has_bfloat16, "this level has no products in bfloat16");
    check(sizes.steps < kMostOf32 && sizes.batch < kMostOf32, "T and B must be less than 2^31");
    for (Index b = 0; inputs_.lengths != nullptr && b < sizes.batch; ++b) {
      check(inputs_.lengths[b] >= 0 && inputs_.lengths[b] <= sizes.steps, "lengths must lie between 0 and T");
    }
  }

  void set_sparse(const SparseAddresses& sparse) {
    inputs_.sparse = {array<const std::int64_t>(std::get<0>(sparse)), array<const std::int64_t>(std::get<1>(sparse)),
                      array<const T>(std::get<2>(sparse))};
  }

  // What each place has besides W, R and the biases.
  int more_weights() const { return shape_.parameters + shape_.matrices; }

  // For each place W, R, two biases or nulls, the parameters, and the cell's own matrices.
  void set_weights(const Addresses& weights) {
    check_count(weights.size(), places() * static_cast<std::size_t>(4 + more_weights()), "weights");
    const Address* next = weights.data();
    for (std::size_t place = 0; place < places(); ++place, next += 4 + more_weights()) {
      Weights<T> own = {array<const T>(next[0]), array<const T>(next[1]), array<const T>(next[2]),
                        array<const T>(next[3]), {}, {}};
      const Address* matrices = next + 4 + shape_.parameters;
      std::transform(next + 4, matrices, own.parameters, array<const T>);
      std::transform(matrices, matrices + shape_.matrices, own.matrices, array<const T>);
      weights_.push_back(own);
    }
    inputs_.weights = weights_.data();
  }

  void set_masks(const Addresses& masks) {
    if (masks.empty()) return;
    check_count(masks.size(), static_cast<std::size_t>(inputs_.sizes.layers - 1), "masks");
    std::transform(masks.begin(), masks.end(), std::back_inserter(masks_), array<const T>);
    inputs_.masks = masks_.data();
  }

  // For each place those of W, R, either bias (or null), the parameters and the matrices; or none at all.
  std::vector<WeightGradients<T>> weight_gradients(const Addresses& from) const {
    std::vector<WeightGradients<T>> found;
    if (from.empty()) return found;
    check_count(from.size(), places() * static_cast<std::size_t>(3 + more_weights()), "gradients of weights");
    for (const Address* next = from.data(); found.size() < places(); next += 3 + more_weights()) {
      WeightGradients<T> own = {array<T>(next[0]), array<T>(next[1]), array<T>(next[2]), {}, {}};
      const Address* matrices = next + 3 + shape_.parameters;
      std::transform(next + 3, matrices, own.parameters, array<T>);
      std::transform(matrices, matrices + shape_.matrices, own.matrices, array<T>);
      found.push_back(own);
    }
    return found;
  }

  const CellShape& shape_;
  Inputs<T> inputs_{};
  std::vector<Weights<T>> weights_;
  std::vector<const T*> masks_;
};

template <class T>
void bind_call(nb::module_& module, const char* name) {
  nb::class_<BoundCall<T>>(module, name)
      .def(nb::init<int, int, const std::array<Index, 7>&, const StridedAddress&, const Addresses&, const Addresses&,
                    Address, Address, const Addresses&, std::uint64_t, const std::vector<StreamAndThreshold>&,
                    const StreamAndThreshold&, double, const std::vector<double>&, const Addresses&, bool,
                    const std::optional<SparseAddresses>&, Index, bool>(),
           nb::arg("cell"), nb::arg("threads"), nb::arg("sizes"), nb::arg("x"), nb::arg("weights"), nb::arg("state"),
           nb::arg("lengths"), nb::arg("reset"), nb::arg("start"), nb::arg("seed"), nb::arg("draws"),
           nb::arg("entering"), nb::arg("entering_scale"), nb::arg("scalars"), nb::arg("masks"), nb::arg("residual"),
           nb::arg("sparse") = nb::none(), nb::arg("recompute") = 0, nb::arg("bfloat16") = false)
      .def("forward", &BoundCall<T>::forward, nb::arg("output"), nb::arg("state"), nb::arg("values"),
           nb::arg("numbers") = 0, nb::arg("checkpoints") = Addresses(), nb::arg("passed") = 0)
      .def("backward", &BoundCall<T>::backward, nb::arg("values"), nb::arg("d_output"), nb::arg("d_state"),
           nb::arg("d_states_at"), nb::arg("x"), nb::arg("weights"), nb::arg("initial"), nb::arg("start"),
           nb::arg("gates"), nb::arg("states_at"), nb::arg("numbers") = 0, nb::arg("checkpoints") = Addresses(),
           nb::arg("passed") = 0);
}

}  // namespace

void bind_recurrence(nb::module_& module) {
  nb::list cells;
  for (const char* cell : kCells) cells.append(nb::str(cell));
  module.attr("cells") = nb::tuple(cells);
  module.attr("cells_digest") = HOLDFAST_CELLS_DIGEST;
  module.attr("has_bfloat16") = active_level().kernels->has_bfloat16;
  bind_call<float>(module, "Float32Call");
  bind_call<double>(module, "Float64Call");
}

}  // namespace holdfast
