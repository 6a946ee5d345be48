// Ends a program that is compiled for a level before its main begins, with the exit status of a skipped test, if this
// processor lacks the level. Itself it is compiled for any processor, hence without the standard library's templates.
#include <stdio.h>
#include <unistd.h>

namespace {

#if defined(HOLDFAST_LEVEL_v2)
bool runs_here() { return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt"); }
#elif defined(HOLDFAST_LEVEL_v3)
bool runs_here() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
}
#elif defined(HOLDFAST_LEVEL_v4) || defined(HOLDFAST_LEVEL_v4_bf16)
bool runs_here() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
#if defined(HOLDFAST_LEVEL_v4_bf16)
         __builtin_cpu_supports("avx512bf16") &&
#endif
         __builtin_cpu_supports("avx512vl");
}
#else
bool runs_here() { return true; }
#endif

__attribute__((constructor)) void skip_where_it_cannot_run() {
  if (runs_here()) return;
  puts("skipped: this processor lacks the level");
  fflush(stdout);
  _exit(77);
}

}  // namespace
