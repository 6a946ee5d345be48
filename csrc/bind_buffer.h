// Arrays from Python by the buffer protocol: numpy's, and all that offers it. It is several times quicker than to
// convert them, and a step takes about a microsecond. What is wrong with one is said by a std::invalid_argument.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <stdexcept>
#include <string>

#include "recurrence.h"

namespace holdfast {

// How long an axis must be; any length where that is negative. The letter is for messages.
struct Axis {
  const char* letter;
  Index length = -1;
};

enum class Access {
  read,     // only the last axis need be dense
  written,  // writable, and all elements side by side
  dense     // the same, but only read
};

template <class T>
struct BufferType;
template <>
struct BufferType<float> {
  static constexpr const char* kName = "float32";
  static bool is(const char* format) { return std::strcmp(format, "f") == 0; }
};
template <>
struct BufferType<double> {
  static constexpr const char* kName = "float64";
  static bool is(const char* format) { return std::strcmp(format, "d") == 0; }
};
template <>
struct BufferType<std::int64_t> {
  static constexpr const char* kName = "int64";
  static bool is(const char* format) {
    return std::strcmp(format, "q") == 0 || (sizeof(long) == 8 && std::strcmp(format, "l") == 0);
  }
};

// The memory of an object, held for the length of a call.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  ~Buffer() {
    if (held_) PyBuffer_Release(&view_);
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  void open(nanobind::handle object, const char* name) {
    name_ = name;
    if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_STRIDES | PyBUF_FORMAT) != 0) {
      PyErr_Clear();
      fail(std::string("an array of ") + BufferType<T>::kName, nanobind::type_name(object.type()).c_str());
    }
    held_ = true;
  }

  void check(std::initializer_list<Axis> axes, Access access) const {
    check(axes.begin(), static_cast<int>(axes.size()), access);
  }

  void check(const Axis* axes, int count, Access access) const {
    bool fits = BufferType<T>::is(format()) && view_.ndim == count;
    for (int k = 0; k < count && fits; ++k) fits = axes[k].length < 0 || axes[k].length == view_.shape[k];
    if (!fits) fail(text_of(axes, count), description());
    if (access == Access::written && view_.readonly) fail("writable", "a read-only array");
    check_strides(access);
  }

  bool empty() const { return view_.len == 0; }
  T* data() const { return static_cast<T*>(view_.buf); }
  int axes() const { return view_.ndim; }
  Index shape(int axis) const { return view_.shape[axis]; }
  Index stride(int axis) const { return view_.strides[axis] / static_cast<Index>(sizeof(T)); }

  // Where its elements begin and end.
  std::uintptr_t first() const { return reach(false); }
  std::uintptr_t last() const { return reach(true); }

  template <class U>
  void check_apart(const Buffer<U>& other) const {
    if (empty() || other.empty() || first() >= other.last() || other.first() >= last()) return;
    fail(std::string("apart from ") + other.name(), "arrays that share memory");
  }
  const char* name() const { return name_; }

  [[noreturn]] void fail(const std::string& wanted, const std::string& got) const {
    throw std::invalid_argument(std::string(name_) + " must be " + wanted + ", got " + got);
  }
  std::string description() const {
    const char* type = BufferType<float>::is(format())          ? BufferType<float>::kName
                       : BufferType<double>::is(format())       ? BufferType<double>::kName
                       : BufferType<std::int64_t>::is(format()) ? BufferType<std::int64_t>::kName
                                                                : nullptr;
    std::string text = type ? type : std::string("type '") + format() + "'";
    text += " of shape [";
    for (int axis = 0; axis < view_.ndim; ++axis) text += (axis ? ", " : "") + std::to_string(view_.shape[axis]);
    return text + "]";
  }

 private:
  const char* format() const { return view_.format ? view_.format : "B"; }

  void check_strides(Access access) const {
    Index expected = sizeof(T);
    bool aligned = reinterpret_cast<std::uintptr_t>(view_.buf) % sizeof(T) == 0;
    for (int axis = view_.ndim - 1; axis >= 0; --axis) {
      const Index stride = view_.strides[axis];
      const bool any = access == Access::read && axis + 1 < view_.ndim;
      if (view_.len > 0 && view_.shape[axis] > 1 && !any && stride != expected) {
        fail("dense", "an array whose elements are not side by side; give a copy of it");
      }
      aligned = aligned && stride % static_cast<Index>(sizeof(T)) == 0;
      expected *= view_.shape[axis];
    }
    if (!aligned) fail("aligned", "an array that is not; give a copy of it");
  }

  std::uintptr_t reach(bool end) const {
    auto at = reinterpret_cast<std::uintptr_t>(view_.buf) + (end ? sizeof(T) : 0);
    for (int axis = 0; axis < view_.ndim; ++axis) {
      const Index step = (view_.shape[axis] - 1) * view_.strides[axis];
      if ((step > 0) == end) at += static_cast<std::uintptr_t>(step);
    }
    return at;
  }

  static std::string text_of(const Axis* axes, int count) {
    std::string text = std::string(BufferType<T>::kName) + " of shape [";
    for (const Axis* axis = axes; axis < axes + count; ++axis) {
      text += axis == axes ? "" : ", ";
      text += axis->length < 0 ? std::string(axis->letter) : std::to_string(axis->length);
    }
    return text + "]";
  }

  const char* name_ = "";
  Py_buffer view_{};
  bool held_ = false;
};

}  // namespace holdfast
