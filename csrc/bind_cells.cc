// What Python needs to compile a user's own cell, and the way in for what comes out. src/holdfast/compiling does it.
#include <nanobind/stl/string.h>

#include <sstream>
#include <stdexcept>
#include <string>

#include "bind.h"
#include "dispatch.h"
#include "loaded_cells.h"

namespace nb = nanobind;

namespace holdfast {
namespace {

nb::tuple words(const char* text) {
  std::istringstream stream(text);
  nb::list found;
  for (std::string word; stream >> word;) found.append(nb::str(word.c_str()));
  return nb::tuple(found);
}

// The interpreter's lock is held: a child that is forked meanwhile would find the library half taken in.
nb::tuple load(const std::string& path) {
  nb::list numbers;
  try {
    for (const int number : load_cells(*active_level().kernels, path)) numbers.append(nb::int_(number));
  } catch (const std::runtime_error& error) {
    throw nb::import_error(error.what());
  }
  return nb::tuple(numbers);
}

}  // namespace

void bind_cells(nb::module_& module) {
  module.attr("cell_sources") = words(cell_sources());
  module.attr("cell_digest") = cell_digest();
  module.attr("compile_flags") = words(active_level().kernels->flags);
  module.def("load_cells", &load, nb::arg("path"));
}

}  // namespace holdfast
