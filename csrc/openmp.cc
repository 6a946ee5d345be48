#include "openmp.h"

#include <dlfcn.h>

#include <atomic>
#include <type_traits>

namespace holdfast {
namespace {

// By the entry that GCC's compiled loops use, and that the runtimes of Clang and Intel have too.
struct Runtime {
  void (*parallel)(void (*body)(void*), void* context, unsigned threads, unsigned flags);
  int (*thread)();
  int (*threads)();
  int (*in_parallel)();
};

Runtime runtime;
std::atomic<bool> adopted{false};

struct Loop {
  void (*work)(int worker);
  int threads;   // that work
  int expected;  // in all
  int granted;
};

void take_part(void* context) {
  Loop& loop = *static_cast<Loop*>(context);
  const int worker = runtime.thread(), granted = runtime.threads();
  if (worker == 0) loop.granted = granted;
  if (granted == loop.expected && worker < loop.threads) loop.work(worker);
}

}  // namespace

bool adopt_openmp(const char* library) {
  void* const found = dlopen(library, RTLD_NOW | RTLD_NOLOAD);
  if (found == nullptr) return false;
  const auto find = [found](auto& entry, const char* name) {
    entry = reinterpret_cast<std::decay_t<decltype(entry)>>(dlsym(found, name));
    return entry != nullptr;
  };
  Runtime entries;
  if (!find(entries.parallel, "GOMP_parallel") || !find(entries.thread, "omp_get_thread_num") ||
      !find(entries.threads, "omp_get_num_threads") || !find(entries.in_parallel, "omp_in_parallel")) {
    return false;
  }
  runtime = entries;
  adopted.store(true, std::memory_order_release);
  return true;
}

void forget_openmp() { adopted.store(false, std::memory_order_relaxed); }

bool has_openmp() { return adopted.load(std::memory_order_acquire) && !runtime.in_parallel(); }

int granted_by_openmp(int wanted) {
  Loop loop{nullptr, 0, 0, 1};
  runtime.parallel(take_part, &loop, static_cast<unsigned>(wanted), 0);
  return loop.granted;
}

bool run_on_openmp(int threads, int granted, void (*work)(int worker)) {
  Loop loop{work, threads, granted, 1};
  runtime.parallel(take_part, &loop, static_cast<unsigned>(granted), 0);
  return loop.granted == granted;
}

}  // namespace holdfast
