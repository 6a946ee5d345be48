// The cells of own_cells.cc as those of a level. Included by one source of a program.
#pragma once

#include <string>

#include "check.h"
#include "dispatch.h"
#include "loaded_cells.h"

namespace holdfast {
#define HOLDFAST_DECLARE(level)            \
  namespace level {                        \
  extern const PrintedCell own_cells[2];   \
  }
HOLDFAST_DECLARE(v2)
HOLDFAST_DECLARE(v3)
HOLDFAST_DECLARE(v4)
HOLDFAST_DECLARE(v4_bf16)
HOLDFAST_DECLARE(neon)
HOLDFAST_DECLARE(generic)
#undef HOLDFAST_DECLARE
}  // namespace holdfast

inline const holdfast::PrintedCell* own_cells(const std::string& level) {
#ifdef HOLDFAST_WITH_v2
  if (level == "x86-64-v2") return holdfast::v2::own_cells;
#endif
#ifdef HOLDFAST_WITH_v3
  if (level == "x86-64-v3") return holdfast::v3::own_cells;
#endif
#ifdef HOLDFAST_WITH_v4
  if (level == "x86-64-v4") return holdfast::v4::own_cells;
#endif
#ifdef HOLDFAST_WITH_v4_bf16
  if (level == "x86-64-v4+bf16") return holdfast::v4_bf16::own_cells;
#endif
#ifdef HOLDFAST_WITH_neon
  if (level == "neon") return holdfast::neon::own_cells;
#endif
#ifdef HOLDFAST_WITH_generic
  if (level == "generic") return holdfast::generic::own_cells;
#endif
  return nullptr;
}

// The number of more_gates, or of its projected variant, at a level.
inline int more_gates_at(const holdfast::Level& level, bool projected) {
  static int loaded[8] = {};  // of each level that is built
  int& first = loaded[&level - holdfast::built_levels().data()];
  if (first == 0) {
    const holdfast::PrintedCell* cells = own_cells(std::string(level.name));
    CHECK(cells != nullptr);
    first = holdfast::add_cell(*level.kernels, cells[0]);
    CHECK(holdfast::add_cell(*level.kernels, cells[1]) == first + 1);
  }
  return first + projected;
}
