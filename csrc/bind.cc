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

// nanobind has one state for all interpreters of a process: where a second one imports the module, the first one's
// calls would fail from then on. Python's own refusal is for 3.12 and later, and only some sub-interpreters ask for it.
int refuse_sub_interpreters(PyObject*) {
  if (PyInterpreterState_GetID(PyInterpreterState_Get()) == 0) return 0;
  PyErr_SetString(PyExc_ImportError, "holdfast._core runs in the main interpreter only, not in a sub-interpreter");
  return -1;
}

}  // namespace

extern "C" PyObject* PyInit_holdfast_core();

// The module as nanobind defines it, with the refusal as the first thing that is run.
extern "C" NB_EXPORT PyObject* PyInit__core() {
  constexpr int kMost = 16;  // slots; nanobind has four
  static PyModuleDef_Slot slots[kMost] = {{Py_mod_exec, reinterpret_cast<void*>(refuse_sub_interpreters)}};
  auto* const definition = reinterpret_cast<PyModuleDef*>(PyInit_holdfast_core());
  if (definition != nullptr && definition->m_slots != slots) {
    for (int k = 0; k < kMost - 2 && definition->m_slots[k].slot != 0; ++k) slots[k + 1] = definition->m_slots[k];
    definition->m_slots = slots;
  }
  return reinterpret_cast<PyObject*>(definition);
}

NB_MODULE(holdfast_core, module) {
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
