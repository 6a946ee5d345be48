// What both passes through a stack of layers need: memory, the rows of each step, the split of the work, and what each
// layer reads.
#pragma once

#include <vector>

#include "direction.h"
#include "kernels.h"
#include "memory.h"
#include "threads.h"

namespace holdfast {

// Memory of one call, given back at its end.
class Workspace {
 public:
  Workspace() = default;
  ~Workspace() {
    for (void* block : taken_) give(block);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  template <class T>
  T* take(Index n) {
    taken_.reserve(taken_.size() + 1);
    taken_.push_back(holdfast::take(static_cast<std::size_t>(n) * sizeof(T)));
    return static_cast<T*>(taken_.back());
  }

  template <class T>
  T* take_zeros(Index n) {
    T* taken = take<T>(n);
    for (Index k = 0; k < n; ++k) taken[k] = 0;
    return taken;
  }

 private:
  std::vector<void*> taken_;
};

// Calls work(worker) for each worker of the team.
template <class Work>
void run(Team& team, Work work) {
  team.run([](void* context, int worker) { (*static_cast<Work*>(context))(worker); }, &work);
}

inline const CellCode<float>& code_of(const PrintedCell& cell, float) { return cell.of_float; }
inline const CellCode<double>& code_of(const PrintedCell& cell, double) { return cell.of_double; }

// The sizes of a cell's own matrices, as its cuts use them.
template <class T>
void set_matrices(Pass<T>& pass, const Sizes& sizes) {
  const CellShape& shape = *pass.shape;
  const auto width = [&](const Array& array) { return wide_as_h(shape, array) ? sizes.width() : sizes.hidden; };
  for (int n = 0; n < shape.forward_cut_count; ++n) {
    const Cut& cut = shape.forward_cuts[n];
    if (cut.kind != CutKind::kProduct) continue;
    MatrixLayout own{};
    for (int k = 0; k < cut.out_count; ++k) own.rows += width(cut.out[k]);
    for (int k = 0; k < cut.in_count; ++k) own.columns += width(cut.in[k]);
    own.layout = {own.columns, 0, own.rows, 1, pass.layout.lanes, group_of(1)};
    pass.matrices[cut.target] = own;
  }
}

// Where a forward pass packs its weights.
template <class T>
void take_panels(ForwardPass<T>& pass, Workspace& memory) {
  pass.panels = memory.take<T>(pass.layout.forward_size());
  pass.biases = memory.take<T>(pass.layout.gate_columns());
  for (int m = 0; m < pass.shape->matrices; ++m) {
    pass.matrix_panels[m] = memory.take<T>(pass.matrices[m].layout.forward_size());
  }
}

// One call: its schedule, its workers, and how a direction of a layer is to be run.
template <class T>
class Call {
 public:
  Call(const Kernels& kernels, const Inputs<T>& inputs);

  const Inputs<T>& inputs;
  const DirectionKernels<T>& kernels;
  const PrintedCell& cell;
  const CellShape& shape;
  Team team;
  Workspace memory;
  Schedule schedule{};
  Workers workers{};
  Index rows = 0;  // of all steps
  Index most_rows = 0;  // of one step
  T* zeros;

  Index places() const { return Index{inputs.sizes.layers} * inputs.sizes.directions; }
  Index state_width(int s) const { return s == 0 ? inputs.sizes.width() : inputs.sizes.hidden; }
  Index state_size(int s) const { return inputs.sizes.batch * state_width(s); }
  Index value_width(int k) const { return shape.narrow_values >> k & 1 ? inputs.sizes.width() : inputs.sizes.hidden; }
  Index width() const { return inputs.sizes.directions * inputs.sizes.width(); }  // of what a layer gives
  Index dense_size() const { return inputs.sizes.steps * inputs.sizes.batch * width(); }
  // How many spans a pass that recomputes has.
  Index spans() const { return (inputs.sizes.steps + inputs.recompute - 1) / inputs.recompute; }

  // A value [L, D, T, B, own] of that layer and direction.
  template <class U>
  Strided<U> rows_of(U* values, Index place, Index own) const {
    if (!values) return {nullptr, 0, 0};
    const Index step = inputs.sizes.batch * own;
    return {values + place * inputs.sizes.steps * step, step, own};
  }

  // That direction's columns of rows [T, B, D*W].
  template <class U>
  Strided<U> columns_of(Strided<U> whole, int direction) const {
    return {whole.base ? whole.base + direction * inputs.sizes.width() : nullptr, whole.step, whole.row};
  }

  template <class U>
  Strided<U> dense(U* base) const {
    return {base, inputs.sizes.batch * width(), width()};
  }

  // Whether what a layer after the first reads is made of more than what the one before gave.
  bool combines() const { return inputs.masks || inputs.residual; }

  // to = (h of both directions side by side + added) * factors, over [T, B, D*W]; added and factors may be null.
  void combine(const Strided<const T>* h, const T* added, const T* factors, T* to);

  // Everything but the input of the layer.
  void set_up(Pass<T>& pass, int layer, int direction);

  // What a forward pass multiplies in, but for its panels: where the products of a staged cell go.
  void set_up_forward(ForwardPass<T>& pass, Workspace& own) const;

  // What the layer reads: x, the h of the layer before, or what was made of it.
  void set_input(Pass<T>& pass, const Strided<const T>* h_before, const T* combined) const;

  // Whether the sequence that a row's reverse direction ends with is then reset.
  bool ends_reset(int direction, Index b) const {
    return direction == 1 && schedule.begins && schedule.steps > 0 && schedule.begins[b];
  }

 private:
  void set_schedule();
  void set_workers();
  void deal_rows();
  void deal_by_length(std::int32_t* owners, int count) const;
  Index ahead_rows(const ForwardPass<T>& pass) const;
};

extern template class Call<float>;
extern template class Call<double>;

}  // namespace holdfast
