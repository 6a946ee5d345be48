// Both passes at each level that this processor runs, against the loop of naive_recurrence.h.
//
// What the core writes is at most as far from the loop in a wider type as twice the loop in its own type is, or 8 units
// in the last place of the largest number: of its own, or for gradients of those of the gates, whose sums they are.
#include <algorithm>
#include <cstring>
#include <memory>
#include <string>

#include "check.h"
#include "dispatch.h"
#include "memory.h"
#include "naive_recurrence.h"

#define HOLDFAST_LEVEL named
#include "generated/cells.h"

namespace {

#define HOLDFAST_INDEX(index, cell) k_##cell = index,
enum Cells { HOLDFAST_CELLS(HOLDFAST_INDEX) };

int cell_of(const Case& c) {
  if (c.full) return c.peephole ? k_peephole_full : k_lstm_full;
  return c.peephole ? k_peephole : k_lstm;
}

std::string name(const Case& c) {
  std::string text = c.peephole ? "peephole" : "lstm";
  const auto add = [&](const char* key, Index value) { text += std::string(" ") + key + std::to_string(value); };
  add("T", c.steps), add("B", c.batch), add("I", c.inputs), add("H", c.hidden), add("L", c.layers);
  add("D", c.directions);
  const std::pair<const char*, bool> rest[] = {{"full", c.full},       {"lengths", c.lengths}, {"reset", c.reset},
                                               {"starts", c.starts},   {"initial", c.initial}, {"biases", c.biases},
                                               {"batch_first", c.batch_first}};
  for (const auto& [key, value] : rest) text += value ? std::string(" ") + key : "";
  return text;
}

template <class T>
class Core {
 public:
  Core(const holdfast::Kernels& kernels, const Problem<T>& problem, int threads)
      : kernels_(kernels), p(problem), c(problem.c), reset_(new bool[p.reset.size() + 1]) {
    for (int part = 0; part < kParts; ++part) fill_with_nan(results.parts[part], size_of(c, part));
    for (auto& value : values_) fill_with_nan(value, size_of(c, kGateI));
    set_inputs(threads);
  }

  // Returns what is written, NaN where nothing is.
  const Results<T>& run() {
    forward(true);
    // A pass that keeps nothing gives the same.
    for (int k : {kOutput, kLastH, kLastC}) {
      kept_.push_back(results.parts[k]);
      fill_with_nan(results.parts[k], size_of(c, k));
    }
    forward(false);
    for (int k : {kOutput, kLastH, kLastC}) CHECK(same(kept_[k], results.parts[k]));
    backward();
    return results;
  }

  static bool same(const std::vector<T>& a, const std::vector<T>& b) {
    return a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
  }

  Results<T> results;

 private:
  static void fill_with_nan(std::vector<T>& numbers, Index size) {
    numbers.reserve(size + (size == 0));
    numbers.assign(size, std::numeric_limits<T>::quiet_NaN());
  }

  T* part(int k) { return results.parts[k].data(); }

  void set_inputs(int threads) {
    std::copy(p.reset.begin(), p.reset.end(), reset_.get());
    for (int place = 0; place < places_of(c); ++place) {
      weights_.push_back({p.input[place].data(), p.recurrent[place].data(),
                          c.biases ? p.bias_ih[place].data() : nullptr, c.biases ? p.bias_hh[place].data() : nullptr,
                          {p.peepholes[0][place].data(), p.peepholes[1][place].data(), p.peepholes[2][place].data()}});
    }
    inputs_.cell = cell_of(c);
    inputs_.threads = threads;
    inputs_.sizes = {c.steps, c.batch, c.inputs, c.hidden, c.layers, c.directions};
    inputs_.x = {p.x.data(), p.x_at(1, 0), p.x_at(0, 1)};
    inputs_.weights = weights_.data();
    for (int s = 0; s < 2; ++s) {
      inputs_.state[s] = c.initial ? p.initial[s].data() : nullptr;
      inputs_.start[s] = c.starts ? p.starts[s].data() : nullptr;
    }
    inputs_.lengths = c.lengths ? p.lengths.data() : nullptr;
    inputs_.reset = c.reset ? reset_.get() : nullptr;
    inputs_.entering_scale = 1;
    if (c.full) inputs_.scalars[0] = std::numeric_limits<T>::infinity(), inputs_.scalars[1] = 1;  // limit_c, scale_g
  }

  void forward(bool keep) {
    holdfast::Outputs<T> outputs{};
    outputs.output = part(kOutput);
    outputs.state[0] = part(kLastH);
    outputs.state[1] = part(kLastC);
    for (int k = 0; k < kValues && keep; ++k) outputs.values[k] = values_[k].data();
    holdfast::forward(kernels_, inputs_, outputs);
  }

  void backward() {
    holdfast::Upstream<T> upstream{};
    for (int k = 0; k < kValues; ++k) upstream.values[k] = values_[k].data();
    upstream.output = {p.d_output.data(), c.batch * c.directions * c.hidden, c.directions * c.hidden};
    holdfast::Gradients<T> to{};
    std::vector<holdfast::WeightGradients<T>> weights;
    Index input = 0;
    for (int place = 0; place < places_of(c); ++place) {
      const Index units = place * c.hidden;
      weights.push_back({part(kInput) + input, part(kRecurrent) + units * 4 * c.hidden,
                         c.biases ? part(kBias) + units * 4 : nullptr,
                         {part(kPeepholeI) + units, part(kPeepholeF) + units, part(kPeepholeO) + units}});
      input += 4 * c.hidden * width_of(c, place / c.directions);
    }
    to.weights = weights.data();
    to.x = part(kX);
    for (int s = 0; s < 2; ++s) {
      upstream.state[s] = p.d_last[s].data();
      upstream.states_at[s] = p.d_at[s].data();
      to.state[s] = part(kInitialH + s);
      to.start[s] = part(kStartH + s);
      to.states_at[s] = c.full ? part(kAtH + s) : nullptr;
    }
    for (int g = 0; g < 4; ++g) to.gates[g] = part(kGateI + g);
    holdfast::backward(kernels_, inputs_, upstream, to);
  }

  static constexpr int kValues = 6;
  const holdfast::Kernels& kernels_;
  const Problem<T>& p;
  const Case& c;
  std::unique_ptr<bool[]> reset_;
  holdfast::Inputs<T> inputs_{};
  std::vector<holdfast::Weights<T>> weights_;
  std::vector<T> values_[kValues];
  std::vector<std::vector<T>> kept_;  // of kOutput, kLastH, kLastC
};

// The largest distance of two arrays, NaN if one holds NaN.
template <class A, class B>
double distance(const std::vector<A>& a, const std::vector<B>& b) {
  double most = 0;
  for (std::size_t k = 0; k < a.size(); ++k) {
    const double own = double(std::abs(a[k] - A(b[k])));
    if (!(own <= most)) most = own;
    if (std::isnan(most)) break;
  }
  return most;
}

template <class T>
double largest_of(const std::vector<T>& numbers) {
  double largest = 0;
  for (T own : numbers) largest = std::max(largest, double(std::abs(own)));
  return largest;
}

bool is_written(const Case& c, int part) {
  if (part == kBias) return c.biases;
  if (part == kAtH || part == kAtC) return c.full;
  return c.peephole || (part != kPeepholeI && part != kPeepholeF && part != kPeepholeO);
}

template <class T, class Wide>
void compare(const Case& c, const char* level, const Results<T>& got, const Results<Wide>& wide,
             const Results<T>& own) {
  for (int part = 0; part < kParts; ++part) {
    if (!is_written(c, part)) continue;
    double largest = largest_of(wide.parts[part]);
    for (int g = kGateI; g <= kGateO && part > kLastC; ++g) largest = std::max(largest, largest_of(wide.parts[g]));
    const double error = distance(wide.parts[part], got.parts[part]);
    const double allowed = std::max(2 * distance(wide.parts[part], own.parts[part]),
                                    8 * double(std::numeric_limits<T>::epsilon()) * largest);
    if (error <= allowed) continue;
    ++failures;
    std::printf("%s, %s, float%d, %s: off by %g, allowed %g, largest %g\n", level, name(c).c_str(), int(8 * sizeof(T)),
                kNames[part], error, allowed, largest);
  }
}

template <class T, class Wide>
void run_case(const Case& c, unsigned seed) {
  const Problem<T> problem(c, seed);
  const Naive<Wide, T> wide(problem);
  const Naive<T, T> own(problem);
  for (const holdfast::Level* level : holdfast::usable_levels()) {
    const std::string text(level->name);
    Results<T> alone = Core<T>(*level->kernels, problem, 1).run();
    compare(c, text.c_str(), alone, wide.results, own.results);
    for (int threads : {2, 3}) {
      Core<T> core(*level->kernels, problem, threads);
      core.run();
      for (int part = 0; part < kParts; ++part) {
        if (!is_written(c, part) || Core<T>::same(alone.parts[part], core.results.parts[part])) continue;
        ++failures;
        std::printf("%s, %s, %d threads: other bits in %s\n", text.c_str(), name(c).c_str(), threads, kNames[part]);
      }
    }
    CHECK(holdfast::in_use() == 0);
  }
}

// Each combination of sizes, with the other choices drawn.
template <class T, class Wide>
void run_all(Index most_hidden) {
  unsigned seed = 0;
  for (Index hidden : {1, 3, 17, 63, 65, 200}) {
    for (Index batch : {0, 1, 5, 33}) {
      for (Index steps : {0, 1, 2, 30}) {
        std::mt19937 words(++seed);
        const auto drawn = [&] { return words() % 2 == 0; };
        const bool large = hidden * batch * steps > 30000;
        const Index inputs = large ? 20 : Index(words() % 40);
        const Case c = {steps,   batch,   inputs,  hidden,  large ? 1 : 1 + drawn(), large ? 1 : 1 + drawn(),
                        drawn(), drawn(), drawn(), drawn(), drawn(), drawn(), drawn(), drawn()};
        if (hidden <= most_hidden) run_case<T, Wide>(c, seed);
      }
    }
  }
}

}  // namespace

int main() {
  run_all<float, double>(200);
  run_all<double, long double>(17);
  std::printf("%zu levels\n", holdfast::usable_levels().size());
  return failures != 0 || holdfast::usable_levels().empty();
}
