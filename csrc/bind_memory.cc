// What the core shares with PyTorch: tensors in its own memory, which is kept from call to call (memory.h), and the
// threads of its OpenMP runtime (openmp.h).
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <limits>
#include <new>
#include <string>

#include "bind.h"
#include "memory.h"
#include "openmp.h"

namespace nb = nanobind;

namespace holdfast {
namespace {

using Shape = std::vector<std::size_t>;

std::size_t bytes_of(const Shape& shape, std::size_t item) {
  std::size_t bytes = item;
  for (const std::size_t size : shape) {
    if (size != 0 && bytes > std::numeric_limits<std::size_t>::max() / 2 / size) throw std::bad_alloc();
    bytes *= size;
  }
  return bytes;
}

template <class T>
nb::object tensor(const Shape& shape) {
  void* block = take(bytes_of(shape, sizeof(T)));
  const nb::capsule owner(block, [](void* own) noexcept { give(own); });
  return nb::cast(nb::ndarray<nb::pytorch, T, nb::device::cpu>(block, shape.size(), shape.data(), owner));
}

nb::object empty(const Shape& shape, bool doubles) { return doubles ? tensor<double>(shape) : tensor<float>(shape); }

std::pair<std::size_t, std::size_t> memory() { return {in_use(), kept()}; }

}  // namespace

void bind_memory(nb::module_& module) {
  module.def("adopt_openmp", [](const std::string& library) { return adopt_openmp(library.c_str()); },
             nb::arg("library"));
  module.def("empty", &empty, nb::arg("shape"), nb::arg("doubles"));
  module.def("memory", &memory);
  module.def("trim", &trim);
}

}  // namespace holdfast
