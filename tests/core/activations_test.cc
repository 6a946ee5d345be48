// Measures csrc/activations.h at the level that this program is compiled for, and fails where a promise is broken.
//
//   activations_test [STEP [DOUBLES]]
//
// tries every STEP-th float32 (1: all of them) and DOUBLES random float64, each with subnormal numbers as they are and
// flushed to zero. Compile with the flags of the level, -DHOLDFAST_LEVEL=its name and -ffp-contract=off.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

#include "../../csrc/activations.h"

namespace {

namespace core = holdfast::HOLDFAST_LEVEL;

constexpr int kBlock = 4096;
int failures = 0;

template <class T>
using Word = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;

// What results are measured against: wide enough that its own error does not count.
template <class T>
using Wide = std::conditional_t<sizeof(T) == 4, double, long double>;

template <class T>
Word<T> bits_of(T x) {
  Word<T> bits;
  std::memcpy(&bits, &x, sizeof x);
  return bits;
}

template <class T>
T from_bits(Word<T> bits) {
  T x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

template <class T>
bool same(T a, T b) {
  return bits_of(a) == bits_of(b) || (std::isnan(a) && std::isnan(b));
}

template <class T>
void fail(const char* name, const char* what, T x, T got) {
  if (++failures <= 40) std::printf("FAILED %s: %s: %a gives %a\n", name, what, double(x), double(got));
}

// Subnormal numbers count as zero while one of these lives, as they do in the kernels.
class Flush {
 public:
  explicit Flush(bool wanted) : before_(get()) {
    if (wanted) set(before_ | kBits);
  }
  ~Flush() { set(before_); }

  static constexpr bool possible() { return kBits != 0; }

 private:
#if defined(__x86_64__)
  static constexpr std::uint64_t kBits = 0x8040;
  static std::uint64_t get() { return _mm_getcsr(); }
  static void set(std::uint64_t word) { _mm_setcsr(static_cast<unsigned>(word)); }
#elif defined(__aarch64__)
  static constexpr std::uint64_t kBits = 1 << 24;
  static std::uint64_t get() {
    std::uint64_t word;
    __asm__ volatile("mrs %0, fpcr" : "=r"(word));
    return word;
  }
  static void set(std::uint64_t word) { __asm__ volatile("msr fpcr, %0" : : "r"(word)); }
#else
  static constexpr std::uint64_t kBits = 0;
  static std::uint64_t get() { return 0; }
  static void set(std::uint64_t) {}
#endif
  std::uint64_t before_;
};

// The bounds spare the slow functions the numbers whose results are known.
template <class W>
W sigmoid(W x) {
  if (x > 100) return 1;
  if (std::fabs(x) < W(0x1p-70)) return W(0.5);
  return 1 / (1 + std::exp(-x));
}

template <class W>
W exponential(W x) {
  if (std::fabs(x) < W(0x1p-70)) return 1;
  return std::exp(x);
}

template <class W>
W tangent(W x) {
  if (std::fabs(x) < W(0x1p-20)) return x * (1 - x * x / 3);
  if (std::fabs(x) > 100) return x < 0 ? -1 : 1;
  return std::tanh(x);
}

template <class W>
W logarithm(W x) {
  return std::signbit(x) && x != 0 ? std::numeric_limits<W>::quiet_NaN() : std::log(x);
}

template <class W>
W root(W x) {
  return std::sqrt(x);
}

template <class T>
struct Function {
  const char* name;
  void (*run)(const T* x, T* y, int n);
  Wide<T> (*reference)(Wide<T> x);
  double most_ulp;
  Wide<T> least, most;  // what results must lie between
  double worst = 0;
  T worst_at = 0;

  void judge(T x, T got);
  void judge_normal(T x, T got, Wide<T> want);
};

template <class T>
void Function<T>::judge(T x, T got) {
  using Limits = std::numeric_limits<T>;
  const Wide<T> want = reference(x);
  if (std::isnan(want) || std::isnan(got)) {
    if (std::isnan(want) != std::isnan(got)) fail(name, "NaN", x, got);
  } else if (got < least || got > most) {
    fail(name, "out of range", x, got);
  } else if (std::isinf(want)) {
    if (Wide<T>(got) != want) fail(name, "not infinite", x, got);
  } else if (std::fabs(want) > Wide<T>(Limits::max())) {
    if (!std::isinf(got) && got != Limits::max()) fail(name, "no overflow", x, got);
  } else if (std::fabs(want) < Limits::min()) {
    if (std::fabs(got) > Limits::min() || std::signbit(got) != std::signbit(want)) fail(name, "too large", x, got);
  } else {
    judge_normal(x, got, want);
  }
}

template <class T>
void Function<T>::judge_normal(T x, T got, Wide<T> want) {
  // Infinity stands for the next number that this precision lacks.
  const Wide<T> value = std::isinf(got) ? std::ldexp(Wide<T>(1), std::numeric_limits<T>::max_exponent) : Wide<T>(got);
  if (value == want) return;
  int exponent;
  std::frexp(want, &exponent);
  const double error = double(std::fabs(std::ldexp(value - want, std::numeric_limits<T>::digits - exponent)));
  if (!(error <= most_ulp)) fail(name, "error", x, got);
  if (error > worst) worst = error, worst_at = x;
}

#define RUN(T, FUNCTION)                                                             \
  [](const T* x, T* y, int n) {                                                      \
    for (int k = 0; k < n; k += core::kLanes<T>) core::store(y + k, core::FUNCTION(core::load(x + k))); \
  }

template <class T>
std::vector<Function<T>> functions() {
  using W = Wide<T>;
  const W infinity = std::numeric_limits<W>::infinity();
  return {
      {"sigmoid", RUN(T, sigmoid), sigmoid<W>, 2.0, 0, 1},
      {"tanh", RUN(T, tanh), tangent<W>, sizeof(T) == 4 ? 2.0 : 2.5, -1, 1},
      {"exp", RUN(T, exp), exponential<W>, 2.0, 0, infinity},
      {"log", RUN(T, log), logarithm<W>, 2.0, -infinity, infinity},
      {"sqrt", RUN(T, sqrt), root<W>, 0.5, 0, infinity},
  };
}

template <class T>
void judge_block(Function<T>& function, const T* x) {
  alignas(64) static T y[kBlock], flushed_y[kBlock];
  function.run(x, y, kBlock);
  {
    Flush flush(true);
    function.run(x, flushed_y, kBlock);
  }
  for (int k = 0; k < kBlock; ++k) {
    function.judge(x[k], y[k]);
    const bool subnormal = Flush::possible() && std::fpclassify(x[k]) == FP_SUBNORMAL;
    const T read = subnormal ? std::copysign(T(0), x[k]) : x[k];
    if (subnormal || !same(y[k], flushed_y[k])) function.judge(read, flushed_y[k]);
  }
}

template <class T>
void judge_symmetry(const T* x) {
  alignas(64) static T y[kBlock], negative_x[kBlock], negative_y[kBlock];
  for (int k = 0; k < kBlock; ++k) negative_x[k] = -x[k];
  for (bool flushed : {false, true}) {
    {
      Flush flush(flushed);
      for (int k = 0; k < kBlock; k += core::kLanes<T>) {
        core::store(y + k, core::tanh(core::load(x + k)));
        core::store(negative_y + k, core::tanh(core::load(negative_x + k)));
      }
    }
    for (int k = 0; k < kBlock; ++k) {
      if (!same(negative_y[k], T(-y[k]))) fail("tanh", "not odd", x[k], negative_y[k]);
      if (std::fabs(x[k]) < std::numeric_limits<T>::epsilon() / 4 && std::isnormal(x[k]) && y[k] != x[k]) {
        fail("tanh", "not its argument", x[k], y[k]);
      }
    }
  }
}

template <class T>
void judge_all(std::vector<Function<T>>& all, const T* x) {
  for (Function<T>& function : all) judge_block(function, x);
  judge_symmetry(x);
}

template <class T>
void report(const std::vector<Function<T>>& all) {
  for (const Function<T>& f : all) {
    std::printf("float%d %-8s worst error %.4f ulp, at %a\n", int(8 * sizeof(T)), f.name, f.worst, double(f.worst_at));
  }
}

void try_floats(std::uint64_t step) {
  std::vector<Function<float>> all = functions<float>();
  alignas(64) static float x[kBlock];
  for (std::uint64_t next = 0; next < (std::uint64_t{1} << 32);) {
    for (int k = 0; k < kBlock; ++k, next += step) x[k] = from_bits<float>(static_cast<std::uint32_t>(next));
    judge_all(all, x);
  }
  report(all);
}

// Of every magnitude, and as many again of those between which most functions do something.
void try_doubles(long count) {
  std::vector<Function<double>> all = functions<double>();
  std::mt19937_64 words(20240607);
  std::uniform_real_distribution<double> wide(-750, 750), narrow(-3, 3);
  alignas(64) static double x[kBlock];
  for (long done = 0; done < count; done += kBlock) {
    for (int k = 0; k < kBlock; ++k) {
      const int kind = k % 4;
      x[k] = kind < 2 ? from_bits<double>(words()) : kind == 2 ? wide(words) : narrow(words);
    }
    judge_all(all, x);
  }
  report(all);
}

template <class T>
const std::vector<T>& special() {
  using Limits = std::numeric_limits<T>;
  static const std::vector<T> values = {
      T(0),          T(-0.0),        Limits::denorm_min(), -Limits::denorm_min(),  Limits::min(),
      -Limits::min(), T(1),          T(-1),                T(2.5),                 T(-2.5),
      Limits::max(), -Limits::max(), Limits::infinity(),   -Limits::infinity(),    Limits::quiet_NaN(),
      T(88.7228),    T(-87.33655),   T(-103.9),            T(-104.4),              T(709.78), T(-745.2)};
  return values;
}

template <class T>
void expect(const char* name, T x, T got, T want) {
  if (!same(got, want)) fail(name, "wrong", x, got);
}

// One of `x` is put into each lane in turn, among lanes full of NaN: lanes must not see each other.
template <class T, class Run>
T in_each_lane(const char* name, T x, Run run) {
  T first = 0;
  for (int lane = 0; lane < core::kLanes<T>; ++lane) {
    core::Vec<T> vector = core::broadcast(std::numeric_limits<T>::quiet_NaN());
    vector[lane] = x;
    const T got = run(vector)[lane];
    if (lane == 0) first = got;
    if (!same(got, first)) fail(name, "differs between lanes", x, got);
  }
  return first;
}

template <class T>
void try_ends() {
  using Vec = core::Vec<T>;
  const auto sigmoid = [](T x) { return in_each_lane("sigmoid", x, [](Vec v) { return core::sigmoid(v); }); };
  const auto tanh = [](T x) { return in_each_lane("tanh", x, [](Vec v) { return core::tanh(v); }); };
  const auto exp = [](T x) { return in_each_lane("exp", x, [](Vec v) { return core::exp(v); }); };
  const auto log = [](T x) { return in_each_lane("log", x, [](Vec v) { return core::log(v); }); };
  const T infinity = std::numeric_limits<T>::infinity(), max = std::numeric_limits<T>::max(), least = T(-0.0);
  for (bool flushed : {false, true}) {
    Flush flush(flushed);
    for (T x : {infinity, max}) {
      expect<T>("sigmoid", x, sigmoid(x), 1);
      expect<T>("sigmoid", -x, sigmoid(-x), 0);
      expect<T>("tanh", x, tanh(x), 1);
      expect<T>("tanh", -x, tanh(-x), -1);
      expect<T>("exp", x, exp(x), infinity);
      expect<T>("exp", -x, exp(-x), 0);
    }
    for (T x : {T(0), least}) {
      expect<T>("sigmoid", x, sigmoid(x), T(0.5));
      expect<T>("tanh", x, tanh(x), x);
      expect<T>("exp", x, exp(x), 1);
      expect<T>("log", x, log(x), -infinity);
    }
    expect<T>("log", 1, log(1), 0);
    expect<T>("log", infinity, log(infinity), infinity);
  }
}

template <class T>
void try_choices() {
  using Vec = core::Vec<T>;
  for (T a : special<T>()) {
    const Vec x = core::broadcast(a);
    expect("broadcast", a, x[core::kLanes<T> - 1], a);
    expect("abs", a, core::abs(x)[0], from_bits<T>(bits_of(a) << 1 >> 1));
    expect("relu", a, core::relu(x)[0], a < 0 ? T(0) : a);
    for (T b : special<T>()) {
      const Vec y = core::broadcast(b);
      expect("maximum", a, core::maximum(x, y)[0], a < b ? b : a);
      expect("minimum", a, core::minimum(x, y)[0], b < a ? b : a);
      expect("select", a, core::select(x <= y, x, y)[0], a <= b ? a : b);
    }
  }
}

// The first n lanes are read and written, and nothing after them.
template <class T>
void try_partial_vectors() {
  T from[core::kLanes<T>], to[core::kLanes<T>];
  for (int n = 0; n <= core::kLanes<T>; ++n) {
    for (int k = 0; k < core::kLanes<T>; ++k) from[k] = T(k + 1), to[k] = T(-1);
    const core::Vec<T> value = core::load(from, n);
    core::store(to, value * T(2), n);
    for (int k = 0; k < core::kLanes<T>; ++k) {
      expect<T>("load", T(n), value[k], k < n ? T(k + 1) : T(0));
      expect<T>("store", T(n), to[k], k < n ? T(2 * k + 2) : T(-1));
    }
  }
}

template <class T>
void try_all_of() {
  try_ends<T>();
  try_choices<T>();
  try_partial_vectors<T>();
}

}  // namespace

int main(int count, char** arguments) {
  try_all_of<float>();
  try_all_of<double>();
  try_floats(count > 1 ? std::strtoull(arguments[1], nullptr, 10) : 1009);
  try_doubles(count > 2 ? std::strtol(arguments[2], nullptr, 10) : 1000000);
  if (failures != 0) std::printf("%d failures\n", failures);
  return failures != 0;
}
