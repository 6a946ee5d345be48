// Back-propagation through a stack of layers.
#include <algorithm>

#include "stack.h"

namespace holdfast {
namespace {

// Slots whose gates' gradients are kept until the gradients of the weights are summed. It depends on nothing, so that
// sums have the same bits on any number of threads.
constexpr Index kChunk = 256;

template <class T>
class BackwardStack {
 public:
  BackwardStack(const Kernels& kernels, const Inputs<T>& inputs, const Upstream<T>& upstream,
                const Gradients<T>& gradients)
      : call_(kernels, inputs), upstream_(upstream), gradients_(gradients), inputs_of_(inputs.sizes.layers) {
    make_inputs();
    for (int k = 0; k < std::min(2, inputs.sizes.layers - 1); ++k) {
      d_between_[k] = call_.memory.template take<T>(call_.dense_size());
    }
    if (call_.schedule.begins) started_ = call_.memory.template take<T>(call_.shape.states * started_size());
  }

  void run() {
    const Sizes& sizes = call_.inputs.sizes;
    Strided<const T> d_output = upstream_.output;
    for (int layer = sizes.layers - 1; layer >= 0; --layer) {
      T* d_input = layer > 0 ? d_between_[(layer - 1) % 2] : gradients_.x;
      for (int d = 0; d < sizes.directions; ++d) run_direction(layer, d, d_output, d_input);
      if (layer == 0) break;
      if (call_.combines()) finish_input(layer, d_output, d_input);
      d_output = call_.dense(static_cast<const T*>(d_input));
    }
  }

 private:
  Index place_of(int layer, int d) const { return Index{layer} * call_.inputs.sizes.directions + d; }
  // Of one state in `started_`.
  Index started_size() const { return std::max(call_.state_size(0), call_.state_size(1)); }

  Strided<const T> h_of(int layer, int d) const {
    if (recomputes()) return call_.columns_of(call_.dense(upstream_.passed + layer * call_.dense_size()), d);
    const T* h = upstream_.values[call_.shape.state_values[0]];
    return call_.rows_of(h, place_of(layer, d), call_.state_width(0));
  }
  bool recomputes() const { return call_.inputs.recompute > 0; }

  // What each layer after the first read, where that is more than the h of the one before.
  void make_inputs() {
    if (!call_.combines()) return;
    const T* sum = nullptr;
    for (int layer = 1; layer < call_.inputs.sizes.layers; ++layer) {
      Strided<const T> h[2], parts[2];
      for (int d = 0; d < call_.inputs.sizes.directions; ++d) h[d] = h_of(layer - 1, d);
      const T* factors = call_.inputs.masks ? call_.inputs.masks[layer - 1] : nullptr;
      T* to = call_.memory.template take<T>(call_.dense_size());
      inputs_of_[layer] = to;
      if (!call_.inputs.residual) {
        call_.combine(h, nullptr, factors, to);
        continue;
      }
      T* next = factors ? call_.memory.template take<T>(call_.dense_size()) : to;
      call_.combine(h, layer > 1 ? sum : nullptr, nullptr, next);
      sum = next;
      for (int d = 0; d < call_.inputs.sizes.directions; ++d) parts[d] = call_.columns_of(call_.dense(sum), d);
      if (factors) call_.combine(parts, nullptr, factors, to);
    }
  }

  // The gradient of what the layer before gave: through this layer's dropout, and past the layer if it adds its input.
  void finish_input(int layer, const Strided<const T>& d_output, T* d_input) {
    const Index count = call_.inputs.sizes.steps * call_.inputs.sizes.batch, batch = call_.inputs.sizes.batch;
    const T* factors = call_.inputs.masks ? call_.inputs.masks[layer - 1] : nullptr;
    const bool past = call_.inputs.residual && d_output.base;
    holdfast::run(call_.team, [&](int worker) {
      for (Index row = call_.workers.part(count, worker); row < call_.workers.part(count, worker + 1); ++row) {
        T* to = d_input + row * call_.width();
        const T* own = past ? d_output.base + row / batch * d_output.step + row % batch * d_output.row : nullptr;
        for (Index k = 0; k < call_.width(); ++k) {
          const T through = factors ? to[k] * factors[row * call_.width() + k] : to[k];
          to[k] = past ? through + own[k] : through;
        }
      }
    });
  }

  void run_direction(int layer, int d, const Strided<const T>& d_output, T* d_input) {
    BackwardPass<T> pass{};
    Workspace memory;
    call_.set_up(pass, layer, d);
    Strided<const T> before[2];
    for (int side = 0; side < call_.inputs.sizes.directions && layer > 0; ++side) before[side] = h_of(layer - 1, side);
    call_.set_input(pass, layer > 0 ? before : nullptr, inputs_of_[layer]);
    set_values(pass, layer, d, d_output);
    set_d_x(pass, d_input, d == 1);
    begin_states(pass, layer, d);
    const bool weights = set_weights(pass, layer, d);
    if (call_.rows == 0 && weights) clear_weights(pass);
    if (call_.rows == 0) pass.tiles = nullptr;
    take_chunk(pass, memory, weights && call_.rows > 0);
    ForwardPass<T> again{};
    if (recomputes()) set_rebuild(pass, again, memory, layer, d);
    for (int worker = 0; worker < call_.workers.count; ++worker) {
      pass.scratch_bytes = std::max(pass.scratch_bytes, call_.kernels.backward_scratch(pass, worker));
    }
    pass.scratch = memory.take<char>(pass.scratch_bytes * call_.workers.count);
    holdfast::run(call_.team, [&](int worker) { call_.kernels.backward(pass, worker); });
    give_start(layer, d);
  }

  void set_values(BackwardPass<T>& pass, int layer, int d, const Strided<const T>& d_output) const {
    const Index place = place_of(layer, d), hidden = call_.inputs.sizes.hidden;
    for (int k = 0; k < call_.shape.values; ++k) {
      pass.values[k] = call_.rows_of(upstream_.values[k], place, call_.value_width(k)).base;
    }
    pass.numbers = call_.rows_of(upstream_.numbers, place, call_.shape.numbers).base;
    for (int s = 0; s < call_.shape.states; ++s) {
      const Index width = call_.state_width(s);
      pass.states[s] = call_.rows_of(upstream_.values[call_.shape.state_values[s]], place, width);
      pass.outside[s][0] = {nullptr, 0, 0};
      pass.outside[s][1] = call_.rows_of(upstream_.states_at[s], place, width);
      pass.states_at[s] = call_.rows_of(gradients_.states_at[s], place, width).base;
    }
    pass.outside[0][0] = call_.columns_of(d_output, d);
    for (int g = 0; g < call_.shape.gates; ++g) {
      pass.gate_values[g] = call_.rows_of(gradients_.gates[g], place, hidden).base;
    }
  }

  // What runs the steps of a span forward again, into memory for one span.
  void set_rebuild(BackwardPass<T>& pass, ForwardPass<T>& again, Workspace& memory, int layer, int d) {
    static_cast<Pass<T>&>(again) = pass;
    const Index rows = std::min(call_.inputs.recompute, call_.inputs.sizes.steps) * call_.inputs.sizes.batch;
    for (int k = 0; k < call_.shape.values; ++k) {
      pass.values[k] = again.values[k] = memory.take<T>(rows * call_.value_width(k));
    }
    pass.numbers = again.numbers = memory.take<T>(rows * call_.shape.numbers);
    for (int s = 0; s < call_.shape.states; ++s) {
      const int own = call_.shape.state_values[s];
      const Index width = call_.state_width(s);
      again.states[s] = {again.values[own], call_.inputs.sizes.batch * width, width};
      pass.states[s] = {again.values[own], again.states[s].step, width};
      again.values[own] = nullptr;
      pass.checkpoints[s] = upstream_.checkpoints[s] + place_of(layer, d) * call_.spans() * call_.state_size(s);
    }
    take_panels(again, memory);
    call_.set_up_forward(again, memory);
    again.every = call_.inputs.recompute;
    pass.rebuild = &again;
  }

  void set_d_x(BackwardPass<T>& pass, T* d_input, bool add) const {
    pass.add_to_x = add;
    if (!d_input || pass.sparse.columns) return;
    const Index row = pass.layout.inputs;
    pass.d_x[0] = {d_input, call_.inputs.sizes.batch * row, row};
    if (pass.widths[1]) pass.d_x[1] = {d_input + pass.widths[0], pass.d_x[0].step, row};
  }

  // What reaches the last state; where a reset follows it, that belongs to `start`.
  void begin_states(BackwardPass<T>& pass, int layer, int d) {
    const Index place = place_of(layer, d), widest = started_size() / std::max<Index>(call_.inputs.sizes.batch, 1);
    pass.started = started_;
    if (started_) std::fill(started_, started_ + call_.shape.states * started_size(), T{0});
    for (int s = 0; s < call_.shape.states; ++s) {
      const Index width = call_.state_width(s), size = call_.state_size(s);
      const T* from = upstream_.state[s] ? upstream_.state[s] + place * size : nullptr;
      pass.carried[s] = gradients_.state[s] + place * size;
      for (Index k = 0; k < size; ++k) {
        const Index b = k / width;
        const bool reset = call_.ends_reset(d, b);
        pass.carried[s][k] = from && !reset ? from[k] : T{0};
        if (from && reset) started_[s * started_size() + b * widest + k % width] = from[k];
      }
    }
  }

  bool set_weights(BackwardPass<T>& pass, int layer, int d) const {
    if (!gradients_.weights) return false;
    pass.weight_gradients = gradients_.weights[place_of(layer, d)];
    return true;
  }

  void clear_weights(const BackwardPass<T>& pass) const {
    const WeightGradients<T>& to = pass.weight_gradients;
    const Index rows = shape().gates * pass.layout.hidden;
    const Index inputs = pass.sparse.columns ? pass.table_rows : pass.layout.inputs;
    std::fill(to.input, to.input + rows * inputs, T{0});
    std::fill(to.recurrent, to.recurrent + rows * pass.layout.width, T{0});
    if (to.bias) std::fill(to.bias, to.bias + rows, T{0});
    for (int p = 0; p < shape().parameters; ++p) {
      std::fill(to.parameters[p], to.parameters[p] + pass.layout.hidden, T{0});
    }
    for (int m = 0; m < shape().matrices; ++m) {
      std::fill(to.matrices[m], to.matrices[m] + pass.matrices[m].rows * pass.matrices[m].columns, T{0});
    }
  }

  void take_chunk(BackwardPass<T>& pass, Workspace& memory, bool weights) const {
    const Layout& layout = pass.layout;
    pass.chunk = round_up(std::max(kChunk, call_.most_rows), 2);  // bfloat16 has slots in pairs
    pass.panels = memory.take<T>(layout.backward_size(layout.width));
    pass.input_panels = pass.d_x[0].base ? memory.take<T>(layout.backward_size(layout.inputs)) : nullptr;
    for (int m = 0; m < shape().matrices; ++m) {
      const MatrixLayout& own = pass.matrices[m];
      pass.matrix_panels[m] = memory.take<T>(own.rows * round_up(own.columns, own.layout.columns()));
    }
    pass.gates = memory.take<T>(pass.chunk * layout.gate_columns());
    pass.inputs = shape().split ? memory.take<T>(pass.chunk * layout.gate_columns()) : pass.gates;
    if (pass.bfloat16) {
      pass.rounded_gates = memory.take<std::uint16_t>(pass.chunk * layout.gate_columns());
      if (shape().split) pass.rounded_inputs = memory.take<std::uint16_t>(pass.chunk * layout.gate_columns());
    }
    pass.parameters = memory.take<T>(pass.chunk * shape().row_gradients() * layout.padded());
    if (!weights) return;
    const Index groups = layout.column_groups(layout.inputs) + layout.column_groups(layout.width);
    pass.left = memory.take<T>(groups * pass.chunk * kMostTileRows);
    pass.tiles = memory.take<T>(layout.blocks() * groups * kMostTileRows * layout.columns());
    pass.sums = memory.take<T>(layout.blocks() * (layout.columns() + shape().row_gradients() * layout.units()));
    take_outers(pass, memory);
  }

  void take_outers(BackwardPass<T>& pass, Workspace& memory) const {
    OuterChunk<T>* next = pass.outers;
    for (int n = 0; n < shape().backward_cut_count; ++n) {
      const Cut& cut = shape().backward_cuts[n];
      if (cut.kind != CutKind::kOuter) continue;
      const Layout& layout = pass.matrices[cut.target].layout;
      const Index groups = layout.column_groups(layout.inputs) * kMostTileRows;
      *next++ = {memory.take<T>(pass.chunk * layout.gate_columns()), memory.take<T>(groups * pass.chunk),
                 memory.take<T>(layout.blocks() * groups * layout.columns())};
    }
  }

  void give_start(int layer, int d) const {
    const Index widest = started_size() / std::max<Index>(call_.inputs.sizes.batch, 1);
    for (int s = 0; s < call_.shape.states; ++s) {
      if (!gradients_.start[s]) continue;
      const Index width = call_.state_width(s);
      T* to = gradients_.start[s] + place_of(layer, d) * width;
      std::fill(to, to + width, T{0});
      for (Index b = 0; started_ && b < call_.inputs.sizes.batch; ++b) {
        const T* from = started_ + s * started_size() + b * widest;
        for (Index unit = 0; unit < width; ++unit) to[unit] += from[unit];
      }
    }
  }

  const CellShape& shape() const { return call_.shape; }

  Call<T> call_;
  const Upstream<T>& upstream_;
  const Gradients<T>& gradients_;
  std::vector<const T*> inputs_of_;  // what a layer after the first read, or null where that is only h
  T* d_between_[2] = {};
  T* started_ = nullptr;
};

}  // namespace

template <class T>
void backward(const Kernels& kernels, const Inputs<T>& inputs, const Upstream<T>& upstream,
              const Gradients<T>& gradients) {
  BackwardStack<T>(kernels, inputs, upstream, gradients).run();
}

template void backward(const Kernels&, const Inputs<float>&, const Upstream<float>&, const Gradients<float>&);
template void backward(const Kernels&, const Inputs<double>&, const Upstream<double>&, const Gradients<double>&);

}  // namespace holdfast
