// How far what the core writes may be from the loop of naive_recurrence.h: as twice the loop in its own type is from
// the loop in a wider one, or 8 units in the last place of the largest number, of its own or for gradients of those of
// the gates, whose sums they are. The loop's distance is relative to the largest number, and for gradients of gates and
// of weights it is that of the worst of them: each gate is a sum over the same inputs, each weight one over the same
// rows, and where it is a few numbers only, the loop may by luck be closer to it than its rounding makes it on average.
// Where products are of bfloat16, so are those of the loop whose distance counts, and its units in the last place.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include "naive_recurrence.h"
#include "recurrence_core.h"

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

// How far the loop in its own type is off, as a part of the largest number.
template <class T, class Wide>
double relative_error(const Results<Wide>& wide, const Results<T>& own, int part) {
  const double largest = largest_of(wide.parts[part]);
  return largest > 0 ? distance(wide.parts[part], own.parts[part]) / largest : 0;
}

inline bool are_alike(int part, int other) {
  const auto is_of_gates = [](int own) { return own >= kGate && own < kAt; };
  return part == other || (is_of_weights(part) && is_of_weights(other)) || (is_of_gates(part) && is_of_gates(other));
}

template <class T, class Wide>
double own_error(const Case& c, const Results<Wide>& wide, const Results<T>& own, int part) {
  double error = 0;
  for (int other = 0; other < kParts; ++other) {
    if (is_written(c, other) && are_alike(part, other)) error = std::max(error, relative_error(wide, own, other));
  }
  return error * largest_of(wide.parts[part]);
}

template <class T, class Wide>
void compare(const Case& c, const std::string& what, double epsilon, const Results<T>& got, const Results<Wide>& wide,
             const Results<T>& own) {
  for (int part = 0; part < kParts; ++part) {
    if (!is_written(c, part)) continue;
    double largest = largest_of(wide.parts[part]);
    for (int g = 0; g < c.gates() && part >= kX; ++g) largest = std::max(largest, largest_of(wide.parts[kGate + g]));
    const double error = distance(wide.parts[part], got.parts[part]);
    const double allowed = std::max(2 * own_error(c, wide, own, part), 8 * epsilon * largest);
    if (error <= allowed) continue;
    ++failures;
    std::printf("%s, %s, %s: off by %g, allowed %g, largest %g\n", what.c_str(), name(c).c_str(), name_of(part).c_str(),
                error, allowed, largest);
  }
}

template <class T>
void check_same(const Case& c, const std::string& what, const Results<T>& one, const Results<T>& other) {
  for (int part = 0; part < kParts; ++part) {
    if (!is_written(c, part) || Core<T>::same(one.parts[part], other.parts[part])) continue;
    ++failures;
    std::printf("%s, %s: other bits in %s\n", what.c_str(), name(c).c_str(), name_of(part).c_str());
  }
}

// On one thread; on several the bits are the same, and so they are where values are computed again.
template <class T>
Results<T> run_core(const holdfast::Level& level, const Problem<T>& problem, bool bfloat16, const std::string& text) {
  const Case& c = problem.c;
  const Results<T> alone = Core<T>(level, problem, 1, bfloat16).run();
  for (int threads = 1; threads <= c.most_threads; ++threads) {
    Core<T> core(level, problem, threads, bfloat16);
    const std::string what = text + ", " + std::to_string(threads) + " threads";
    if (threads > 1) check_same(c, what, alone, core.run());
    if (c.recompute != kEveryNumber && threads < c.most_threads) continue;
    const Index first = c.recompute == kEveryNumber ? 1 : c.recompute;
    const Index last = c.recompute == kEveryNumber ? c.steps + 1 : c.recompute;
    for (Index every = first; every <= last && every > 0; ++every) {
      check_same(c, what + ", again every " + std::to_string(every), alone, core.run_again(every));
    }
  }
  CHECK(holdfast::in_use() == 0);
  return alone;
}

// At each level that this processor runs.
template <class T, class Wide>
void run_case(const Case& c, unsigned seed) {
  const Problem<T> problem(c, seed);
  const Naive<Wide, T> wide(problem);
  const Naive<T, T> own(problem);
  for (const holdfast::Level* level : holdfast::usable_levels()) {
    const std::string text = std::string(level->name) + ", float" + std::to_string(8 * sizeof(T));
    const double epsilon = double(std::numeric_limits<T>::epsilon());
    compare(c, text, epsilon, run_core(*level, problem, false, text), wide.results, own.results);
    if (!level->kernels->has_bfloat16 || sizeof(T) != sizeof(float)) continue;
    const Naive<T, T> rounding(problem, true);
    const std::string what = text + " of bfloat16";
    compare(c, what, std::ldexp(1.0, -7), run_core(*level, problem, true, what), wide.results, rounding.results);
  }
}
