#include "dispatch.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace holdfast {

// CMakeLists.txt defines HOLDFAST_WITH_<level> for each level that it builds.
#define HOLDFAST_DECLARE(level) \
  namespace level {             \
  extern const Kernels kernels; \
  }
HOLDFAST_DECLARE(v2)
HOLDFAST_DECLARE(v3)
HOLDFAST_DECLARE(v4)
HOLDFAST_DECLARE(v4_bf16)
HOLDFAST_DECLARE(neon)
HOLDFAST_DECLARE(generic)
#undef HOLDFAST_DECLARE

namespace {

using Names = std::vector<std::string_view>;

Names extend(Names names, const Names& more) {
  names.insert(names.end(), more.begin(), more.end());
  return names;
}

std::vector<Level> list_built_levels() {
  // The levels of the x86-64 psABI; each contains the one before.
  const Names v2 = {"cx16", "lahf", "popcnt", "sse3", "ssse3", "sse4.1", "sse4.2"};
  const Names v3 = extend(v2, {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "lzcnt", "movbe"});
  const Names v4 = extend(v3, {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"});
  return {
#ifdef HOLDFAST_WITH_generic
      {"generic", {}, &generic::kernels},
#endif
#ifdef HOLDFAST_WITH_v2
      {"x86-64-v2", v2, &v2::kernels},
#endif
#ifdef HOLDFAST_WITH_v3
      {"x86-64-v3", v3, &v3::kernels},
#endif
#ifdef HOLDFAST_WITH_v4
      {"x86-64-v4", v4, &v4::kernels},
#endif
#ifdef HOLDFAST_WITH_v4_bf16
      {"x86-64-v4+bf16", extend(v4, {"avx512bf16"}), &v4_bf16::kernels},
#endif
#ifdef HOLDFAST_WITH_neon
      {"neon", {"neon"}, &neon::kernels},
#endif
  };
}

bool runs_here(const Level& level) {
  const Names& present = instruction_sets();
  return std::all_of(level.needs.begin(), level.needs.end(), [&](std::string_view name) {
    return std::find(present.begin(), present.end(), name) != present.end();
  });
}

std::string usable_names() {
  std::string text;
  for (const Level* level : usable_levels()) text += (text.empty() ? "" : ", ") + std::string(level->name);
  return text.empty() ? "none" : text;
}

const Level& pick_level() {
  const char* forced = std::getenv("HOLDFAST_ISA");
  if (forced != nullptr && *forced != '\0') return find_level(forced, "HOLDFAST_ISA");
  if (usable_levels().empty()) {
    throw std::runtime_error("this processor runs none of the instruction set levels of this build of holdfast");
  }
  return *usable_levels().back();
}

}  // namespace

const std::vector<Level>& built_levels() {
  static const std::vector<Level> levels = list_built_levels();
  return levels;
}

const std::vector<const Level*>& usable_levels() {
  static const std::vector<const Level*> usable = [] {
    std::vector<const Level*> found;
    for (const Level& level : built_levels()) {
      if (runs_here(level)) found.push_back(&level);
    }
    return found;
  }();
  return usable;
}

const Level& find_level(std::string_view name, std::string_view asked_by) {
  for (const Level* level : usable_levels()) {
    if (level->name == name) return *level;
  }
  const bool built = std::any_of(built_levels().begin(), built_levels().end(),
                                 [&](const Level& level) { return level.name == name; });
  throw std::invalid_argument(std::string(asked_by) + " is \"" + std::string(name) + "\", " +
                              (built ? "which this processor cannot run" : "which is no level of this build") +
                              "; it can be one of: " + usable_names());
}

const Level& active_level() {
  static const Level& level = pick_level();
  return level;
}

}  // namespace holdfast
