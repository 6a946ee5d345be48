// Prepared stacks from Python. src/holdfast/runtime/prepared.py makes them and says what their calls mean.
#include <nanobind/stl/array.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>
#include <string>

#include "bind.h"
#include "bind_buffer.h"
#include "dispatch.h"
#include "prepared.h"

namespace nb = nanobind;

namespace holdfast {
namespace {

// Multiplications from which on other threads of Python may run meanwhile, which itself takes some 50 ns.
constexpr Index kWorthUnlocking = 1 << 18;

class Unlocked {
 public:
  explicit Unlocked(bool unlocks) : state_(unlocks ? PyEval_SaveThread() : nullptr) {}
  ~Unlocked() {
    if (state_) PyEval_RestoreThread(state_);
  }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

 private:
  PyThreadState* state_;
};

// The parts of a state: a tuple or a list with one array for each state of the cell.
template <class T>
class States {
 public:
  States(nb::handle parts, int count, const char* const* names) : count_(count) {
    const bool tuple = PyTuple_Check(parts.ptr());
    if (!tuple && !PyList_Check(parts.ptr())) refuse(nb::type_name(parts.type()).c_str());
    const Py_ssize_t size = tuple ? PyTuple_Size(parts.ptr()) : PyList_Size(parts.ptr());
    if (size != count) refuse(std::to_string(size));
    for (int s = 0; s < count; ++s) {
      parts_[s].open(tuple ? PyTuple_GetItem(parts.ptr(), s) : PyList_GetItem(parts.ptr(), s), names[s]);
    }
  }

  // The axes before the last one; that is the width of h in the first part, and H in the others.
  void check(std::initializer_list<Axis> axes, const Sizes& sizes, Access access) const {
    Axis all[kMostAxes];
    std::copy(axes.begin(), axes.end(), all);
    for (int s = 0; s < count_; ++s) {
      all[axes.size()] = s == 0 ? Axis{"width of h", sizes.width()} : Axis{"H", sizes.hidden};
      parts_[s].check(all, static_cast<int>(axes.size()) + 1, access);
    }
  }
  template <class U>
  void check_apart(const Buffer<U>& other) const {
    for (int s = 0; s < count_; ++s) parts_[s].check_apart(other);
  }
  void check_apart(const States& other) const {
    for (int s = 0; s < other.count_; ++s) check_apart(other.parts_[s]);
  }
  void check_apart() const {
    for (int s = 1; s < count_; ++s) {
      for (int other = 0; other < s; ++other) parts_[other].check_apart(parts_[s]);
    }
  }
  T* data(int s) const { return parts_[s].data(); }

 private:
  static constexpr int kMostAxes = 3;

  [[noreturn]] void refuse(const std::string& got) const {
    throw std::invalid_argument("state must be a tuple of " + std::to_string(count_) + " array" +
                                (count_ == 1 ? "" : "s") + ", got " + got);
  }

  int count_;
  Buffer<T> parts_[kMostStates];
};

constexpr const char* kStateNames[kMostStates] = {"h of state",        "c of state",        "part 3 of state",
                                                  "part 4 of state", "part 5 of state", "part 6 of state"};
constexpr const char* kNextNames[kMostStates] = {"h of the next state",      "c of the next state",
                                                 "part 3 of the next state", "part 4 of the next state",
                                                 "part 5 of the next state", "part 6 of the next state"};

template <class T>
class BoundPrepared {
 public:
  // `weights` has for each place W, R, two biases or None, the parameters [kParameters * H] or None, and the matrices.
  BoundPrepared(int cell, const std::array<Index, 5>& sizes, const std::vector<nb::object>& weights,
                const std::vector<double>& scalars, bool residual, bool bfloat16) {
    Inputs<T> inputs{};
    inputs.cell = cell;
    inputs.sizes = {0, 0, sizes[0], sizes[1], static_cast<int>(sizes[2]), static_cast<int>(sizes[3]), sizes[4]};
    inputs.residual = residual;
    inputs.bfloat16 = bfloat16;
    for (std::size_t k = 0; k < std::min<std::size_t>(scalars.size(), kMostScalars); ++k) {
      inputs.scalars[k] = static_cast<T>(scalars[k]);
    }
    check(inputs, weights.size());
    std::vector<Buffer<T>> own(weights.size());
    std::vector<Weights<T>> found(places(inputs));
    const std::size_t each = weights.size() / found.size();
    for (std::size_t place = 0; place < found.size(); ++place) {
      found[place] = weights_of(inputs, place, weights.data() + each * place, own.data() + each * place);
    }
    inputs.weights = found.data();
    prepared_ = std::make_unique<Prepared<T>>(kernels_, inputs);
    work_ = prepared_->work();
  }

  void step(nb::handle x_given, nb::handle state_given, nb::handle out_given) const {
    const Sizes& sizes = prepared_->sizes();
    Buffer<T> x, out;
    x.open(x_given, "x");
    const bool batched = x.axes() != 1;
    const States<T> state(state_given, prepared_->states(), kStateNames);
    out.open(out_given, "out");
    const Index width = sizes.width(), layers = sizes.layers;
    Index batch = 1;
    if (batched) {
      x.check({{"B"}, {"I", sizes.inputs}}, Access::dense);
      batch = x.shape(0);
      state.check({{"L", layers}, {"B", batch}}, sizes, Access::written);
      out.check({{"B", batch}, {"width of h", width}}, Access::written);
    } else {
      x.check({{"I", sizes.inputs}}, Access::dense);
      state.check({{"L", layers}}, sizes, Access::written);
      out.check({{"width of h", width}}, Access::written);
    }
    state.check_apart();
    state.check_apart(x);
    state.check_apart(out);
    out.check_apart(x);
    T* parts[kMostStates] = {};
    for (int s = 0; s < prepared_->states(); ++s) parts[s] = state.data(s);
    const Unlocked unlocked(batch * work_ >= kWorthUnlocking);
    prepared_->step(batch, x.data(), parts, out.data());
  }

  // x [T, B, I], state None or [L*D, B, H] each, lengths None or int64 [B]; writes out [T, B, D*H] and `next`.
  void run(nb::handle x_given, nb::handle state_given, nb::handle lengths_given, nb::handle out_given,
           nb::handle next_given, int threads) const {
    const Sizes& sizes = prepared_->sizes();
    const int states = prepared_->states();
    const Index places = Index{sizes.layers} * sizes.directions;
    Buffer<T> x, out;
    Buffer<std::int64_t> lengths;
    x.open(x_given, "x");
    x.check({{"T"}, {"B"}, {"I", sizes.inputs}}, Access::read);
    const Index steps = x.shape(0), batch = x.shape(1);
    out.open(out_given, "out");
    out.check({{"T", steps}, {"B", batch}, {"D * width of h", sizes.directions * sizes.width()}}, Access::written);
    const States<T> next(next_given, states, kNextNames);
    next.check({{"L*D", places}, {"B", batch}}, sizes, Access::written);
    Inputs<T> call{};
    Outputs<T> outputs{};
    call.threads = std::max(threads, 1);
    call.sizes.steps = steps;
    call.sizes.batch = batch;
    call.x = {x.data(), x.stride(0), x.stride(1)};
    outputs.output = out.data();
    out.check_apart(x);
    next.check_apart();
    next.check_apart(x);
    next.check_apart(out);
    for (int s = 0; s < states; ++s) outputs.state[s] = next.data(s);
    if (!lengths_given.is_none()) {
      lengths.open(lengths_given, "lengths");
      lengths.check({{"B", batch}}, Access::dense);
      check_lengths(lengths, steps);
      out.check_apart(lengths);
      call.lengths = lengths.data();
    }
    std::unique_ptr<States<T>> state;
    if (!state_given.is_none()) {
      state = std::make_unique<States<T>>(state_given, states, kStateNames);
      state->check({{"L*D", places}, {"B", batch}}, sizes, Access::dense);
      state->check_apart(out);
      state->check_apart(next);
      for (int s = 0; s < states; ++s) call.state[s] = state->data(s);
    }
    const Unlocked unlocked(steps * batch * work_ >= kWorthUnlocking);
    prepared_->run(call, outputs);
  }

  double time_steps(nb::handle x_given, Index count) const {
    Buffer<T> x;
    x.open(x_given, "x");
    x.check({{"B"}, {"I", prepared_->sizes().inputs}}, Access::dense);
    const Unlocked unlocked(true);
    return prepared_->time_steps(x.shape(0), x.data(), count);
  }

 private:
  static constexpr std::size_t kEach = 5;

  static std::size_t places(const Inputs<T>& inputs) {
    return static_cast<std::size_t>(inputs.sizes.layers) * static_cast<std::size_t>(inputs.sizes.directions);
  }

  void check(const Inputs<T>& inputs, std::size_t weights) const {
    const Sizes& sizes = inputs.sizes;
    if (inputs.bfloat16 && !kernels_.has_bfloat16) {
      throw std::invalid_argument("this level has no products in bfloat16");
    }
    if (sizes.inputs < 0 || sizes.hidden < 1 || sizes.projected < 0 || sizes.layers < 1 || sizes.directions < 1 ||
        sizes.directions > 2) {
      throw std::invalid_argument("sizes: I, H, L, D and P that a stack cannot have");
    }
    const std::size_t each = kEach + static_cast<std::size_t>(printed_cell(kernels_, inputs.cell).shape.matrices);
    if (weights != each * places(inputs)) {
      throw std::invalid_argument("weights: " + std::to_string(each) + " of each place");
    }
  }

  // The weights of a place, each of the shape that the sizes ask for.
  Weights<T> weights_of(const Inputs<T>& inputs, std::size_t place, const nb::object* given, Buffer<T>* own) const {
    const Sizes& sizes = inputs.sizes;
    const bool first = place < static_cast<std::size_t>(sizes.directions);
    ForwardPass<T> pass{};
    pass.shape = &printed_cell(kernels_, inputs.cell).shape;
    set_matrices(pass, sizes);
    const Index rows = pass.shape->gates * sizes.hidden;
    const auto at = [&](std::size_t k, const char* name, std::initializer_list<Axis> axes) -> const T* {
      if (given[k].is_none()) return nullptr;
      own[k].open(given[k], name);
      own[k].check(axes, Access::dense);
      return own[k].data();
    };
    Weights<T> found{};
    found.input = at(0, "weight_ih", {{"G*H", rows}, {"I", first ? sizes.inputs : sizes.directions * sizes.width()}});
    found.recurrent = at(1, "weight_hh", {{"G*H", rows}, {"width of h", sizes.width()}});
    found.bias_ih = at(2, "bias_ih", {{"G*H", rows}});
    found.bias_hh = at(3, "bias_hh", {{"G*H", rows}});
    const T* parameters = at(4, "parameters", {{"rows", pass.shape->parameters * sizes.hidden}});
    for (int k = 0; k < pass.shape->parameters; ++k) found.parameters[k] = parameters + k * sizes.hidden;
    for (int m = 0; m < pass.shape->matrices; ++m) {
      const MatrixLayout& matrix = pass.matrices[m];
      found.matrices[m] =
          at(kEach + static_cast<std::size_t>(m), "matrix", {{"rows", matrix.rows}, {"columns", matrix.columns}});
    }
    return found;
  }

  static void check_lengths(const Buffer<std::int64_t>& lengths, Index steps) {
    for (Index b = 0; b < lengths.shape(0); ++b) {
      const std::int64_t length = lengths.data()[b];
      if (length < 0 || length > steps) {
        lengths.fail("from 0 to T = " + std::to_string(steps),
                     std::to_string(length) + " for row " + std::to_string(b));
      }
    }
  }

  const Kernels& kernels_ = *active_level().kernels;
  std::unique_ptr<Prepared<T>> prepared_;
  Index work_ = 0;
};

template <class T>
void bind(nb::module_& module, const char* name) {
  nb::class_<BoundPrepared<T>>(module, name)
      .def(nb::init<int, const std::array<Index, 5>&, const std::vector<nb::object>&, const std::vector<double>&,
                    bool, bool>(),
           nb::arg("cell"), nb::arg("sizes"), nb::arg("weights"), nb::arg("scalars"), nb::arg("residual"),
           nb::arg("bfloat16") = false)
      .def("step", &BoundPrepared<T>::step, nb::arg("x").none(), nb::arg("state").none(), nb::arg("out").none())
      .def("run", &BoundPrepared<T>::run, nb::arg("x"), nb::arg("state").none(), nb::arg("lengths").none(),
           nb::arg("out").none(), nb::arg("next"), nb::arg("threads"))
      .def("time_steps", &BoundPrepared<T>::time_steps, nb::arg("x").none(), nb::arg("count"));
}

}  // namespace

void bind_prepared(nb::module_& module) {
  bind<float>(module, "Float32Prepared");
  bind<double>(module, "Float64Prepared");
}

}  // namespace holdfast
