// Prepared stacks at each level that this processor runs: packed or not, frame by frame or whole, the bits are the
// same; and a step takes no memory.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "dispatch.h"
#include "memory.h"
#include "own_cells.h"
#include "prepared.h"

#define HOLDFAST_LEVEL named
#include "generated/cells.h"
#include "generated/staged_cells.h"

namespace {
std::size_t taken_from_the_heap = 0;
}

void* operator new(std::size_t bytes) {
  ++taken_from_the_heap;
  if (void* block = std::malloc(bytes > 0 ? bytes : 1)) return block;
  std::abort();
}
void operator delete(void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }

namespace {

using holdfast::Index;

constexpr const char* kNames[] = {
#define HOLDFAST_NAME(index, cell) #cell,
    HOLDFAST_CELLS(HOLDFAST_NAME) HOLDFAST_STAGED_CELLS(HOLDFAST_NAME) "more_gates", "more_gates_projected"};
constexpr int kCells = sizeof kNames / sizeof *kNames, kOwn = kCells - 2;

// Whether the cell's h is projected.
bool projects(int cell) { return std::string(kNames[cell]).find("_projected") != std::string::npos; }

struct Problem {
  int cell;
  Index batch, inputs, hidden;
  int layers;
  bool residual, biases;
  Index projected = projects(cell) ? hidden / 2 + 1 : 0;
  bool bfloat16 = false;

  int number(const holdfast::Level& level) const { return cell < kOwn ? cell : more_gates_at(level, cell > kOwn); }
  Index width() const { return projected ? projected : hidden; }
  Index state_width(int s) const { return s == 0 ? width() : hidden; }
};

template <class T>
class Arrays {
 public:
  Arrays(const holdfast::Level& level, const Problem& p)
      : p_(p), shape_(holdfast::printed_cell(*level.kernels, p.number(level)).shape) {
    inputs.cell = p.number(level);
    inputs.threads = 1;
    inputs.sizes = {kSteps, p.batch, p.inputs, p.hidden, p.layers, 1, p.projected};
    inputs.bfloat16 = p.bfloat16;
    inputs.entering_scale = 1;
    inputs.residual = p.residual;
    for (T& scalar : inputs.scalars) scalar = T(0.75);
    x = numbers(kSteps * p.batch * p.inputs);
    inputs.x = {x.data(), p.batch * p.inputs, p.inputs};
    for (int layer = 0; layer < p.layers; ++layer) add_weights(layer == 0 ? p.inputs : p.width());
    inputs.weights = weights_.data();
    for (int s = 0; s < shape_.states; ++s) {
      initial[s] = numbers(p.layers * p.batch * p.state_width(s));
      inputs.state[s] = initial[s].data();
    }
  }

  struct Found {
    std::vector<T> output, state[holdfast::kMostStates];

    bool same(const Found& other, int states) const {
      bool equal = bits(output, other.output);
      for (int s = 0; s < states; ++s) equal = equal && bits(state[s], other.state[s]);
      return equal;
    }
    static bool bits(const std::vector<T>& a, const std::vector<T>& b) {
      return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
    }
  };

  // By `run`, which takes the inputs and the outputs.
  template <class Run>
  Found whole(Run run) const {
    Found found = empty();
    holdfast::Outputs<T> outputs{};
    outputs.output = found.output.data();
    for (int s = 0; s < shape_.states; ++s) outputs.state[s] = found.state[s].data();
    run(inputs, outputs);
    return found;
  }

  Found steps(const holdfast::Prepared<T>& prepared) const {
    Found found = empty();
    T* state[holdfast::kMostStates] = {};
    for (int s = 0; s < shape_.states; ++s) {
      found.state[s] = initial[s];
      state[s] = found.state[s].data();
    }
    for (Index t = 0; t < kSteps; ++t) {
      const std::size_t from_heap = taken_from_the_heap, in_use = holdfast::in_use();
      T* out = found.output.data() + t * p_.batch * p_.width();
      prepared.step(p_.batch, x.data() + t * p_.batch * p_.inputs, state, out);
      // A thread keeps what the first step makes: the sums of a residual stack, and what stages and rounding need.
      if (t == 0 && (p_.residual || shape_.staged || p_.bfloat16)) continue;
      CHECK(taken_from_the_heap == from_heap && holdfast::in_use() == in_use);
    }
    return found;
  }

  holdfast::Inputs<T> inputs{};
  std::vector<T> x, initial[holdfast::kMostStates];

 private:
  static constexpr Index kSteps = 4;

  std::vector<T> numbers(Index n) {
    std::uniform_real_distribution<double> uniform(-0.5, 0.5);
    std::vector<T> drawn(static_cast<std::size_t>(n));
    for (T& number : drawn) number = static_cast<T>(uniform(generator_));
    return drawn;
  }

  const T* keep(Index n) {
    kept_.push_back(numbers(n));
    return kept_.back().data();
  }

  void add_weights(Index width) {
    const Index rows = shape_.gates * p_.hidden;
    holdfast::Weights<T> own{};
    own.input = keep(rows * width);
    own.recurrent = keep(rows * p_.width());
    if (p_.biases) own.bias_ih = keep(rows);
    if (p_.biases) own.bias_hh = keep(rows);
    for (int k = 0; k < shape_.parameters; ++k) own.parameters[k] = keep(p_.hidden);
    // As large as that of full_gate_recurrence.
    for (int m = 0; m < shape_.matrices; ++m) own.matrices[m] = keep(9 * p_.hidden * p_.hidden);
    weights_.push_back(own);
  }

  Found empty() const {
    Found found;
    found.output.resize(static_cast<std::size_t>(kSteps * p_.batch * p_.width()));
    for (int s = 0; s < shape_.states; ++s) found.state[s].resize(initial[s].size());
    return found;
  }

  const Problem p_;
  const holdfast::CellShape& shape_;
  std::mt19937 generator_{1};
  std::vector<std::vector<T>> kept_;
  std::vector<holdfast::Weights<T>> weights_;
};

template <class T>
void check(const holdfast::Level& level, const Problem& p) {
  const holdfast::Kernels& kernels = *level.kernels;
  const int before = failures;
  Arrays<T> arrays(level, p);
  const holdfast::Prepared<T> prepared(kernels, arrays.inputs);
  const auto plain = arrays.whole([&](const auto& in, const auto& out) { holdfast::forward(kernels, in, out); });
  const auto packed = arrays.whole([&](const auto& in, const auto& out) { prepared.run(in, out); });
  CHECK(packed.same(plain, prepared.states()));
  for (int turn = 0; turn < 2; ++turn) CHECK(arrays.steps(prepared).same(plain, prepared.states()));
  if (failures != before) {
    const std::string text(level.name);
    std::printf("in: %s %s %s B%td I%td H%td L%d P%td residual %d biases %d bfloat16 %d\n", text.c_str(),
                kNames[p.cell], sizeof(T) == 4 ? "float" : "double", p.batch, p.inputs, p.hidden, p.layers, p.projected,
                p.residual, p.biases, p.bfloat16);
  }
}

template <class T>
void check_level(const holdfast::Level& level, bool bfloat16) {
  const auto check_one = [&](Problem p) {
    p.bfloat16 = bfloat16;
    check<T>(level, p);
  };
  for (int cell = 0; cell < kCells; ++cell) {
    for (const Index batch : {1, 3, 8}) check_one({cell, batch, 5, 19, 2, false, true});
  }
  for (const Index hidden : {1, 3, 16, 17, 33, 64, 65}) {
    for (const Index batch : {0, 1, 2, 5, 6, 7, 13}) {
      check_one({static_cast<int>(hidden + batch) % kCells, batch, 7, hidden, 1, false, batch % 2 == 0});
    }
  }
  for (const int layers : {2, 3, 5}) {
    check_one({0, 2, 9, 21, layers, true, true});
    check_one({kOwn - 1, 2, 9, 21, layers, true, true});
  }
}

}  // namespace

int main() {
  for (const holdfast::Level* level : holdfast::usable_levels()) {
    check_level<float>(*level, false);
    check_level<double>(*level, false);
    if (level->kernels->has_bfloat16) check_level<float>(*level, true);
  }
  if (failures == 0) std::printf("prepared stacks: all bits are the same\n");
  return failures != 0;
}
