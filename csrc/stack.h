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

// One call: its schedule, its workers, and how a direction of a layer is to be run.
template <class T>
class Call {
 public:
  Call(const Kernels& kernels, const Inputs<T>& inputs);

  const Inputs<T>& inputs;
  const DirectionKernels<T>& kernels;
  const CellShape& shape;
  Team team;
  Workspace memory;
  Schedule schedule{};
  Workers workers{};
  Index rows = 0;  // of all steps
  Index most_rows = 0;  // of one step
  T* zeros;

  Index places() const { return Index{inputs.sizes.layers} * inputs.sizes.directions; }
  Index state_size() const { return inputs.sizes.batch * inputs.sizes.hidden; }
  Index value_size() const { return inputs.sizes.steps * state_size(); }
  Index width() const { return inputs.sizes.directions * inputs.sizes.hidden; }

  // A value [L, D, T, B, H] of that layer and direction.
  template <class U>
  Strided<U> rows_of(U* values, Index place) const {
    if (!values) return {nullptr, 0, 0};
    return {values + place * value_size(), state_size(), inputs.sizes.hidden};
  }

  // That direction's columns of rows [T, B, D*H].
  template <class U>
  Strided<U> columns_of(Strided<U> whole, int direction) const {
    return {whole.base ? whole.base + direction * inputs.sizes.hidden : nullptr, whole.step, whole.row};
  }

  template <class U>
  Strided<U> dense(U* base) const {
    return {base, inputs.sizes.batch * width(), width()};
  }

  // Whether what a layer after the first reads is made of more than what the one before gave.
  bool combines() const { return inputs.masks || inputs.residual; }

  // to = (h of both directions side by side + added) * factors, over [T, B, D*H]; added and factors may be null.
  void combine(const Strided<const T>* h, const T* added, const T* factors, T* to);

  // Everything but the input of the layer.
  void set_up(Pass<T>& pass, int layer, int direction);

  // What the layer reads: x, the h of the layer before, or what was made of it.
  void set_input(Pass<T>& pass, const Strided<const T>* h_before, const T* combined) const;

  // Whether the sequence that a row's reverse direction ends with is then reset.
  bool ends_reset(int direction, Index b) const {
    return direction == 1 && schedule.begins && schedule.steps > 0 && schedule.begins[b];
  }

 private:
  void set_schedule();
  void set_workers();
};

extern template class Call<float>;
extern template class Call<double>;

}  // namespace holdfast
