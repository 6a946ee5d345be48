// Weights packed once, for as many frames and sequences as are to come.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstring>
#include <type_traits>
#include <vector>

#include "direction.h"
#include "kernels.h"
#include "recurrence.h"
#include "stack.h"

namespace holdfast {

// A stack of layers without dropout. It owns all that it needs of the weights and never changes: any number of threads
// may call it at once.
template <class T>
class Prepared {
 public:
  // Reads of `like` the cell, the sizes but for T and B, the weights, the scalars and `residual`, and keeps none of
  // its arrays. Throws std::bad_alloc.
  Prepared(const Kernels& kernels, const Inputs<T>& like);
  Prepared(const Prepared&) = delete;
  Prepared& operator=(const Prepared&) = delete;

  const Sizes& sizes() const { return like_.sizes; }  // T and B are 0
  int states() const { return shape().states; }

  // Multiplications of one row's step.
  Index work() const;

  // One frame of one direction: x [batch, I] to out [batch, W], changing the states [L, batch, its width]. No array
  // overlaps another. Runs on the calling thread and neither locks nor waits. It takes memory in two cases, on the
  // first call of a thread with so many rows: with `residual` and more than two layers; and where the cell is staged or
  // products are in bfloat16.
  void step(Index batch, const T* x, T* const* state, T* out) const;

  // Whole sequences. Of `call` it reads the threads, T and B, x, lengths, and the states; as `forward` else.
  void run(const Inputs<T>& call, const Outputs<T>& outputs) const;

  // The seconds that `count` steps take: x [batch, I] again and again, from a state of zeros that is carried on.
  double time_steps(Index batch, const T* x, Index count) const;

 private:
  const DirectionKernels<T>& own_kernels() const {
    if constexpr (std::is_same_v<T, float>) return kernels_.of_float;
    if constexpr (std::is_same_v<T, double>) return kernels_.of_double;
  }
  const CellShape& shape() const { return printed_cell(kernels_, like_.cell).shape; }
  void pack(const Weights<T>& weights, Index inputs);

  const Kernels& kernels_;
  Inputs<T> like_;
  Workspace memory_;
  std::vector<Weights<T>> weights_;   // of which only the parameters are kept
  std::vector<Packed<T>> packed_;
  std::vector<ForwardPass<T>> passes_;  // [L * D], as `step` needs them
  std::size_t step_scratch_ = 0;        // bytes of a frame beside the stack
};

template <class T>
Prepared<T>::Prepared(const Kernels& kernels, const Inputs<T>& like) : kernels_(kernels), like_{} {
  const Sizes& sizes = like.sizes;
  like_.cell = like.cell;
  like_.threads = 1;
  like_.sizes = {0, 0, sizes.inputs, sizes.hidden, sizes.layers, sizes.directions, sizes.projected};
  std::memcpy(like_.scalars, like.scalars, sizeof like.scalars);
  like_.entering_scale = 1;
  like_.residual = like.residual;
  like_.bfloat16 = like.bfloat16;
  for (Index place = 0; place < Index{sizes.layers} * sizes.directions; ++place) {
    pack(like.weights[place], place < sizes.directions ? sizes.inputs : sizes.directions * sizes.width());
  }
  like_.weights = weights_.data();
  like_.packed = packed_.data();
}

template <class T>
void Prepared<T>::pack(const Weights<T>& weights, Index inputs) {
  const Index hidden = like_.sizes.hidden, width = like_.sizes.width();
  const int lanes = own_kernels().lanes;
  ForwardPass<T> pass{};
  pass.shape = &shape();
  pass.code = &code_of(printed_cell(kernels_, like_.cell), T{});
  pass.layout = {inputs, width, hidden, shape().gates, lanes, group_of(shape().gates)};
  set_matrices(pass, like_.sizes);
  pass.bfloat16 = like_.bfloat16;
  pass.workers.count = 1;
  pass.weights = weights;
  std::memcpy(pass.scalars, like_.scalars, sizeof pass.scalars);
  pass.zeros = memory_.template take_zeros<T>(round_up(std::max(hidden, width), kMostVectors * lanes) + lanes);
  take_panels(pass, memory_);
  own_kernels().pack(pass, 0);
  pass.packed = true;
  pass.weights = {};
  for (int k = 0; k < shape().parameters; ++k) {
    T* own = memory_.template take<T>(hidden);
    std::memcpy(own, weights.parameters[k], static_cast<std::size_t>(hidden) * sizeof(T));
    pass.weights.parameters[k] = own;
  }
  Packed<T> packed{pass.panels, pass.biases, {}};
  std::copy(pass.matrix_panels, pass.matrix_panels + kMostMatrices, packed.matrices);
  packed_.push_back(packed);
  weights_.push_back(pass.weights);
  passes_.push_back(pass);
  if (shape().staged || like_.bfloat16) {
    step_scratch_ = std::max(step_scratch_, static_cast<std::size_t>(own_kernels().step_scratch(pass)));
  }
}

template <class T>
Index Prepared<T>::work() const {
  Index sum = 0;
  for (const ForwardPass<T>& pass : passes_) {
    sum += pass.layout.forward_size();
    for (int m = 0; m < shape().matrices; ++m) sum += pass.matrices[m].layout.forward_size();
  }
  return sum;
}

template <class T>
void Prepared<T>::step(Index batch, const T* x, T* const* state, T* out) const {
  if (batch == 0) return;
  // Back and forth: what the last step read last is still in the cache.
  static thread_local bool backwards = false;
  backwards = !backwards;
  const FlushSubnormals flushed;
  const Index width = like_.sizes.width(), size = batch * width;
  T* sum = nullptr;  // of what the layers gave, where a layer reads more than the h of the one before
  if (like_.residual && like_.sizes.layers > 2) {
    static thread_local std::vector<T> kept;
    if (kept.size() < static_cast<std::size_t>(size)) kept.resize(static_cast<std::size_t>(size));
    sum = kept.data();
  }
  static thread_local std::vector<char> scratch;
  if (scratch.size() < step_scratch_) scratch.resize(step_scratch_);
  for (int layer = 0; layer < like_.sizes.layers; ++layer) {
    Frame<T> frame{batch, x, {}, {}, backwards, scratch.data()};
    for (int s = 0; s < states(); ++s) {
      frame.old[s] = frame.next[s] = state[s] + layer * batch * (s == 0 ? width : like_.sizes.hidden);
    }
    T* h = frame.next[0];
    frame.next[0] = out;
    own_kernels().step(passes_[static_cast<std::size_t>(layer)], frame);
    std::memcpy(h, out, static_cast<std::size_t>(size) * sizeof(T));
    if (like_.residual && layer > 0) {
      for (Index k = 0; k < size; ++k) out[k] += x[k];
      if (layer + 1 < like_.sizes.layers) std::memcpy(sum, out, static_cast<std::size_t>(size) * sizeof(T));
      x = sum;
    } else {
      x = h;
    }
  }
}

template <class T>
void Prepared<T>::run(const Inputs<T>& call, const Outputs<T>& outputs) const {
  Inputs<T> inputs = like_;
  inputs.threads = call.threads;
  inputs.sizes.steps = call.sizes.steps;
  inputs.sizes.batch = call.sizes.batch;
  inputs.x = call.x;
  inputs.lengths = call.lengths;
  std::memcpy(inputs.state, call.state, sizeof inputs.state);
  forward(kernels_, inputs, outputs);
}

template <class T>
double Prepared<T>::time_steps(Index batch, const T* x, Index count) const {
  Workspace memory;
  T* out = memory.template take<T>(batch * like_.sizes.width());
  T* state[kMostStates] = {};
  for (int s = 0; s < states(); ++s) {
    const Index width = s == 0 ? like_.sizes.width() : like_.sizes.hidden;
    state[s] = memory.template take_zeros<T>(like_.sizes.layers * batch * width);
  }
  const auto start = std::chrono::steady_clock::now();
  for (Index n = 0; n < count; ++n) step(batch, x, state, out);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace holdfast
