// The Python module holdfast._core: conversions and checks, nothing else. src/holdfast/_core.pyi says the types.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <optional>
#include <string>

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include "bind.h"
#include "dispatch.h"

namespace nb = nanobind;

namespace {

using Floats = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

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

float dot(const Floats& a, const Floats& b, const std::optional<std::string>& level) {
  if (a.shape(0) != b.shape(0)) {
    throw std::invalid_argument("a holds " + std::to_string(a.shape(0)) + " numbers and b holds " +
                                std::to_string(b.shape(0)) + "; dot needs as many of each");
  }
  const holdfast::Level& chosen = level ? holdfast::find_level(*level, "level") : holdfast::active_level();
  nb::gil_scoped_release unlocked;
  return chosen.kernels->dot(a.data(), b.data(), a.shape(0));
}

}  // namespace

NB_MODULE(_core, module) {
  module.attr("version") = HOLDFAST_VERSION;
  module.attr("compiler") = HOLDFAST_COMPILER;
  module.attr("level") = std::string(holdfast::active_level().name);
  module.attr("levels") = usable_levels();
  module.attr("built_levels") = built_levels();
  module.attr("instruction_sets") = instruction_sets();
  module.def("dot", &dot, nb::arg("a").noconvert(), nb::arg("b").noconvert(),
             nb::arg("level") = nb::none());
  holdfast::bind_memory(module);
  holdfast::bind_prepared(module);
  holdfast::bind_recurrence(module);
}
