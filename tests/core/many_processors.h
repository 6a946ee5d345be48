// Lets calls use four threads on a machine of fewer processors. Included by one source of a program.
#pragma once

#include "threads.h"

#if defined(__linux__)
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

namespace {
std::atomic<int> least_processors{0};
}

// In place of the C library's.
extern "C" int sched_getaffinity(pid_t thread, std::size_t bytes, cpu_set_t* usable) noexcept {
  const long written = syscall(SYS_sched_getaffinity, thread, bytes, usable);
  if (written < 0) return -1;
  for (std::size_t k = static_cast<std::size_t>(written); k < bytes; ++k) reinterpret_cast<char*>(usable)[k] = 0;
  for (int k = CPU_SETSIZE - 1; CPU_COUNT_S(bytes, usable) < least_processors; --k) CPU_SET_S(k, bytes, usable);
  return 0;
}

inline void pretend_four_processors() {
  holdfast::Team started(4);  // which knows how many there are, and will not spin in the way of others
  least_processors = 4;
}
#else
inline void pretend_four_processors() {}
#endif
