// Which levels of instruction sets this build and this processor have, and which one this process uses.
#pragma once

#include <string_view>
#include <vector>

#include "kernels.h"

namespace holdfast {

struct Level {
  std::string_view name;
  std::vector<std::string_view> needs;  // instruction sets, by the names of instruction_sets()
  const Kernels* kernels;
};

// The instruction sets that this processor has and its operating system supports, by name.
const std::vector<std::string_view>& instruction_sets();

// The levels in this build, from the plainest to the fastest.
const std::vector<Level>& built_levels();

// Those of them that this processor runs, in the same order.
const std::vector<const Level*>& usable_levels();

// The level called `name`. Throws std::invalid_argument, which says what there is, if the build or the processor
// lacks it; `asked_by` is what the message calls the place that named it.
const Level& find_level(std::string_view name, std::string_view asked_by);

// The level of this process, chosen on the first call: the one that the environment variable HOLDFAST_ISA names, else
// the fastest usable one. Throws as find_level does, and std::runtime_error if the processor runs no level of this
// build.
const Level& active_level();

}  // namespace holdfast
