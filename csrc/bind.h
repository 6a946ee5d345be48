// The parts of the Python module holdfast._core, one for each bind_*.cc.
#pragma once

#include <nanobind/nanobind.h>

namespace holdfast {

void bind_cells(nanobind::module_& module);
void bind_memory(nanobind::module_& module);
void bind_prepared(nanobind::module_& module);
void bind_recurrence(nanobind::module_& module);

}  // namespace holdfast
