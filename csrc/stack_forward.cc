// The forward pass through a stack of layers.
#include <algorithm>
#include <cstring>

#include "stack.h"

namespace holdfast {
namespace {

template <class T>
class ForwardStack {
 public:
  ForwardStack(const Kernels& kernels, const Inputs<T>& inputs, const Outputs<T>& outputs)
      : call_(kernels, inputs), outputs_(outputs), keeps_(outputs.values[call_.shape.state_values[0]] != nullptr) {
    // One of these sums is what the next one is made of.
    for (int k = 0; inputs.residual && k < std::min(2, inputs.sizes.layers - 1); ++k) {
      summed_[k] = call_.memory.template take<T>(call_.dense_size());
    }
    if (inputs.masks) masked_ = call_.memory.template take<T>(call_.dense_size());
    for (int d = 0; d < inputs.sizes.directions && !keeps_; ++d) {
      for (int k = 0; k < 2 && inputs.sizes.layers > 1 && (!outputs.passed || inputs.residual); ++k) {
        between_[k][d] = call_.memory.template take<T>(inputs.sizes.steps * call_.state_size(0));
      }
      for (int s = 1; s < call_.shape.states; ++s) last_[d][s] = call_.memory.template take<T>(call_.state_size(s));
    }
  }

  void run() {
    const Sizes& sizes = call_.inputs.sizes;
    Strided<const T> before[2], own[2];
    const T* sum = nullptr;  // what the layer reads but for dropout, where it is not just the h of the one before
    for (int layer = 0; layer < sizes.layers; ++layer) {
      const T* combined = nullptr;
      if (layer > 0 && call_.combines()) combined = next_input(layer, before, sum);
      for (int d = 0; d < sizes.directions; ++d) {
        own[d] = run_direction(layer, d, layer > 0 ? before : nullptr, combined);
      }
      if (layer + 1 == sizes.layers && adds(layer)) call_.combine(own, sum, nullptr, outputs_.output);
      std::copy(own, own + 2, before);
    }
  }

 private:
  Index place_of(int layer, int d) const { return Index{layer} * call_.inputs.sizes.directions + d; }
  bool adds(int layer) const { return call_.inputs.residual && layer > 0; }

  // Of a layer after the first; `sum` becomes its input before dropout.
  const T* next_input(int layer, const Strided<const T>* before, const T*& sum) {
    const T* factors = call_.inputs.masks ? call_.inputs.masks[layer - 1] : nullptr;
    if (!call_.inputs.residual) {
      call_.combine(before, nullptr, factors, masked_);
      return masked_;
    }
    T* to = summed_[(layer - 1) % 2];
    call_.combine(before, adds(layer - 1) ? sum : nullptr, nullptr, to);
    sum = to;
    if (!factors) return sum;
    Strided<const T> parts[2];
    for (int d = 0; d < call_.inputs.sizes.directions; ++d) parts[d] = call_.columns_of(call_.dense(sum), d);
    call_.combine(parts, nullptr, factors, masked_);
    return masked_;
  }

  // Returns where it left h.
  Strided<const T> run_direction(int layer, int d, const Strided<const T>* before, const T* combined) {
    ForwardPass<T> pass{};
    call_.set_up(pass, layer, d);
    call_.set_input(pass, before, combined);
    set_outputs(pass, layer, d);
    Workspace memory;
    if (const Packed<T>* packed = call_.inputs.packed) {
      pass.panels = packed[place_of(layer, d)].panels;
      pass.biases = packed[place_of(layer, d)].biases;
      std::copy(packed[place_of(layer, d)].matrices, packed[place_of(layer, d)].matrices + kMostMatrices,
                pass.matrix_panels);
      pass.packed = true;
    } else {
      take_panels(pass, memory);
    }
    call_.set_up_forward(pass, memory);
    for (int worker = 0; worker < call_.workers.count; ++worker) {
      pass.scratch_bytes = std::max(pass.scratch_bytes, call_.kernels.forward_scratch(pass, worker));
    }
    pass.scratch = memory.take<char>(pass.scratch_bytes * call_.workers.count);
    holdfast::run(call_.team, [&](int worker) { call_.kernels.forward(pass, worker); });
    give_state(pass, layer, d);
    return {pass.states[0].base, pass.states[0].step, pass.states[0].row};
  }

  void set_outputs(ForwardPass<T>& pass, int layer, int d) {
    const Sizes& sizes = call_.inputs.sizes;
    const Index place = place_of(layer, d), own_width = sizes.width();
    const bool last = layer + 1 == sizes.layers && !adds(layer);
    const Strided<T> output = call_.columns_of(call_.dense(outputs_.output), d);
    pass.copy = {nullptr, 0, 0};
    if (keeps_) {
      for (int k = 0; k < call_.shape.values; ++k) {
        pass.values[k] = call_.rows_of(outputs_.values[k], place, call_.value_width(k)).base;
      }
      for (int s = 0; s < call_.shape.states; ++s) {
        const int own = call_.shape.state_values[s];
        pass.states[s] = call_.rows_of(outputs_.values[own], place, call_.state_width(s));
        pass.values[own] = nullptr;
      }
      pass.numbers = call_.rows_of(outputs_.numbers, place, call_.shape.numbers).base;
      if (last) pass.copy = output;
      return;
    }
    const bool passes = outputs_.passed && layer + 1 < sizes.layers;
    pass.states[0] = last     ? output
                     : passes ? call_.columns_of(call_.dense(outputs_.passed + layer * call_.dense_size()), d)
                              : call_.rows_of(between_[layer % 2][d], 0, own_width);
    for (int s = 1; s < call_.shape.states; ++s) pass.states[s] = {last_[d][s], 0, call_.state_width(s)};
    set_checkpoints(pass, place);
  }

  void set_checkpoints(ForwardPass<T>& pass, Index place) const {
    if (!call_.inputs.recompute || !outputs_.checkpoints[0]) return;
    pass.every = call_.inputs.recompute;
    for (int s = 0; s < call_.shape.states; ++s) {
      pass.checkpoints[s] = outputs_.checkpoints[s] + place * call_.spans() * call_.state_size(s);
    }
  }

  // The state after each row's last step.
  void give_state(const ForwardPass<T>& pass, int layer, int d) const {
    const Sizes& sizes = call_.inputs.sizes;
    const Index place = place_of(layer, d);
    for (int s = 0; s < call_.shape.states; ++s) {
      const Index width = call_.state_width(s);
      for (Index b = 0; b < sizes.batch; ++b) {
        const Index length = pass.schedule.length(b), last = pass.reverse ? 0 : length - 1;
        const T* from = call_.ends_reset(d, b) ? pass.start[s]
                        : length == 0          ? pass.initial[s] + b * pass.initial_row[s]
                                               : pass.states[s].base + last * pass.states[s].step +
                                                     b * pass.states[s].row;
        T* to = outputs_.state[s] + place * call_.state_size(s) + b * width;
        std::memcpy(to, from, static_cast<std::size_t>(width) * sizeof(T));
      }
    }
  }

  Call<T> call_;
  const Outputs<T>& outputs_;
  const bool keeps_;
  T* summed_[2] = {};      // inputs of layers after the first, before dropout
  T* masked_ = nullptr;    // and after it
  T* between_[2][2] = {};  // h of a layer and of the one before, of each direction, where they are not kept
  T* last_[2][kMostStates] = {};  // of each direction, the states other than h where they are not kept
};

}  // namespace

template <class T>
void forward(const Kernels& kernels, const Inputs<T>& inputs, const Outputs<T>& outputs) {
  ForwardStack<T>(kernels, inputs, outputs).run();
}

template void forward(const Kernels&, const Inputs<float>&, const Outputs<float>&);
template void forward(const Kernels&, const Inputs<double>&, const Outputs<double>&);

}  // namespace holdfast
