// The Python module holdfast._core: conversions and checks, nothing else. src/holdfast/_core.pyi says the types.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <string>
#include <vector>

#include "bind.h"
#include "dispatch.h"

namespace nb = nanobind;

namespace {

nb::tuple to_tuple(const std::vector<std::string>& names) {
  nb::list list;
  for (const std::string& name : names) list.append(nb::str(name.c_str()));
  return nb::tuple(list);
}

nb::tuple instruction_sets() {
  return to_tuple({holdfast::instruction_sets().begin(), holdfast::instruction_sets().end()});
}

nb::tuple built_levels() {
  std::vector<std::string> names;
  for (const holdfast::Level& level : holdfast::built_levels()) names.emplace_back(level.name);
  return to_tuple(names);
}

nb::tuple usable_levels() {
  std::vector<std::string> names;
  for (const holdfast::Level* level : holdfast::usable_levels()) names.emplace_back(level->name);
  return to_tuple(names);
}

}  // namespace

NB_MODULE(_core, module) {
  nb::set_leak_warnings(false);  // a program may keep a prepared stack until it exits
  module.attr("version") = HOLDFAST_VERSION;
  module.attr("compiler") = HOLDFAST_COMPILER;
  module.attr("level") = std::string(holdfast::active_level().name);
  module.attr("levels") = usable_levels();
  module.attr("built_levels") = built_levels();
  module.attr("instruction_sets") = instruction_sets();
  holdfast::bind_cells(module);
  holdfast::bind_memory(module);
  holdfast::bind_prepared(module);
  holdfast::bind_recurrence(module);
}
