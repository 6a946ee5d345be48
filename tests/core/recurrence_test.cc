// Both passes at each level that this processor runs, against the loop of naive_recurrence.h.
#include "many_processors.h"
#include "recurrence_core.h"

namespace {

// Each combination of sizes, with the other choices drawn.
template <class T, class Wide>
void run_all(Index most_hidden) {
  unsigned seed = 0;
  for (Index hidden : {1, 3, 17, 63, 65, 200}) {
    for (Index batch : {0, 1, 5, 33}) {
      for (Index steps : {0, 1, 2, 30}) {
        std::mt19937 words(++seed);
        const bool large = hidden * batch * steps > 30000;
        const auto one_or_two = [&] { return large ? 1 : 1 + int(words() % 2); };
        const Index inputs = large ? 20 : Index(words() % 40);
        const int layers = one_or_two() + (hidden < 63 && words() % 2), directions = one_or_two();
        const Case c = {steps, batch, inputs, hidden, layers, directions, unsigned(words()) & kEverything};
        if (hidden <= most_hidden) run_case<T, Wide>(c, seed);
      }
    }
  }
}

constexpr unsigned kAllMasks = kMasks | kEntering | kFactors;

// Every mask on several workers, which have rows or units of their own.
constexpr Case kMasked[] = {
    {6, 33, 7, 65, 2, 2, kAllMasks | kReset | kStarts | kResidual, kOwnRows},
    {9, 29, 4, 37, 3, 1, kAllMasks | kReset | kLengths | kPeephole | kInitial, kOwnRows},
    {12, 5, 9, 100, 2, 2, kAllMasks | kReset | kStarts | kResidual, kSharedRows},
    {11, 7, 6, 81, 3, 1, kAllMasks | kReset | kLengths | kPeephole | kBiases, kSharedRows},
};

// Rows of more than a chunk of the backward pass, and many chunks.
constexpr Case kLong[] = {
    {3, 300, 3, 40, 1, 2, kFull | kLengths | kBiases, kOwnRows},
    {2, 300, 2, 21, 2, 1, kPeephole | kEntering, kOwnRows},
    {1000, 3, 2, 40, 1, 2, kLengths | kReset | kEntering, kSharedRows},
    {1000, 24, 2, 9, 1, 1, kMasks | kBiases | kInitial, kOwnRows},
};

// So many gates that products with them are made in parts.
constexpr Case kWide[] = {
    {3, 3, 5, 520, 2, 2, kAllMasks | kReset | kPeephole, kSharedRows},
    {2, 2, 3, 1000, 1, 1, kBiases | kInitial, kSharedRows},
    {2, 2, 3, 1030, 1, 1, kFull | kPeephole | kLengths | kBiases, kSharedRows},
    {1, 24, 2, 520, 1, 1, kInitial | kShares, kOwnRows},
};

// So many weights that two workers share these rows, which would else be enough for each to have its own.
constexpr Case kFarAway = {2, 17, 3400, 520, 1, 1, kLengths | kInitial | kBiases, kSharedRows};

// These take minutes.
constexpr Case kSlow[] = {
    {2, 26, 3400, 520, 1, 1, kAllMasks | kReset | kPeephole, kSharedRows},
    {2, 300, 3, 520, 1, 1, kAllMasks | kLengths | kPeephole, kOwnRows},
    {1, 300, 3, 1000, 1, 1, kInitial | kBiases, kOwnRows},
    {1000, 1, 3, 520, 1, 1, kBiases, kSharedRows},
};
constexpr Case kSlowDoubles[] = {
    {3, 3, 5, 520, 2, 1, kAllMasks | kReset | kPeephole, kSharedRows},
    {2, 2, 3, 1030, 1, 1, kFull | kBiases, kSharedRows},
    {2, 17, 1500, 520, 1, 1, kLengths | kInitial, kSharedRows},
    {1, 300, 3, 520, 1, 1, kInitial | kBiases, kOwnRows},
};

template <class T, class Wide, std::size_t N>
void run_each(const Case (&cases)[N]) {
  for (unsigned k = 0; k < N; ++k) run_case<T, Wide>(cases[k], 1000 + k);
}

// The known answers of the generator's authors (kat_vectors of Random123).
void check_generator() {
  CHECK(philox({0, 0, 0, 0}, 0, 0) == Words{0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8});
  CHECK(philox({~0u, ~0u, ~0u, ~0u}, ~0u, ~0u) == Words{0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD});
}

}  // namespace

int main() {
  check_generator();
  pretend_three_processors();
  run_all<float, double>(emulated() ? 65 : 200);
  run_all<double, long double>(emulated() ? 3 : 17);
  run_each<float, double>(kMasked);
  if (!emulated()) {
    run_each<double, long double>(kMasked);
    run_each<float, double>(kLong);
    run_each<float, double>(kWide);
    run_case<float, double>(kFarAway, 1);
  }
  if (std::getenv("HOLDFAST_SLOW")) {
    run_each<float, double>(kSlow);
    run_each<double, long double>(kSlowDoubles);
  }
  std::printf("%zu levels\n", holdfast::usable_levels().size());
  return failures != 0 || holdfast::usable_levels().empty();
}
