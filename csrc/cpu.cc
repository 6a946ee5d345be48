// The instruction sets of this processor. Own code, because __builtin_cpu_supports of the oldest compilers we build
// with does not know all of movbe, lzcnt and f16c, which -march=x86-64-v3 lets the compiler use.
#include "dispatch.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace holdfast {
namespace {

#if defined(__x86_64__)

enum Register { EAX, EBX, ECX, EDX };

// What the operating system has to save on a task switch for the instructions to be usable (bits of XCR0).
constexpr unsigned kNothing = 0, kAvx = 0x6, kAvx512 = 0xE6;

struct Feature {
  std::string_view name;
  unsigned leaf, subleaf;
  Register where;
  int bit;
  unsigned saved;
};

constexpr Feature kFeatures[] = {
    {"sse3", 1, 0, ECX, 0, kNothing},
    {"ssse3", 1, 0, ECX, 9, kNothing},
    {"cx16", 1, 0, ECX, 13, kNothing},
    {"sse4.1", 1, 0, ECX, 19, kNothing},
    {"sse4.2", 1, 0, ECX, 20, kNothing},
    {"popcnt", 1, 0, ECX, 23, kNothing},
    {"lahf", 0x80000001, 0, ECX, 0, kNothing},
    {"movbe", 1, 0, ECX, 22, kNothing},
    {"lzcnt", 0x80000001, 0, ECX, 5, kNothing},
    {"bmi1", 7, 0, EBX, 3, kNothing},
    {"bmi2", 7, 0, EBX, 8, kNothing},
    {"avx", 1, 0, ECX, 28, kAvx},
    {"f16c", 1, 0, ECX, 29, kAvx},
    {"fma", 1, 0, ECX, 12, kAvx},
    {"avx2", 7, 0, EBX, 5, kAvx},
    {"avx512f", 7, 0, EBX, 16, kAvx512},
    {"avx512dq", 7, 0, EBX, 17, kAvx512},
    {"avx512cd", 7, 0, EBX, 28, kAvx512},
    {"avx512bw", 7, 0, EBX, 30, kAvx512},
    {"avx512vl", 7, 0, EBX, 31, kAvx512},
    {"avx512bf16", 7, 1, EAX, 5, kAvx512},
};

unsigned state_saved_by_os() {
  unsigned registers[4] = {};
  constexpr int kOsxsave = 27;
  if (!__get_cpuid(1, &registers[EAX], &registers[EBX], &registers[ECX], &registers[EDX])) return 0;
  if (!(registers[ECX] >> kOsxsave & 1)) return 0;
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

std::vector<std::string_view> detect() {
  std::vector<std::string_view> found;
  const unsigned saved = state_saved_by_os();
  for (const Feature& feature : kFeatures) {
    unsigned registers[4] = {};
    if (!__get_cpuid_count(feature.leaf, feature.subleaf, &registers[EAX], &registers[EBX], &registers[ECX],
                           &registers[EDX])) {
      continue;
    }
    const bool present = registers[feature.where] >> feature.bit & 1;
    if (present && (saved & feature.saved) == feature.saved) found.push_back(feature.name);
  }
  return found;
}

#elif defined(__ARM_NEON)

std::vector<std::string_view> detect() { return {"neon"}; }

#else

std::vector<std::string_view> detect() { return {}; }

#endif

}  // namespace

const std::vector<std::string_view>& instruction_sets() {
  static const std::vector<std::string_view> found = detect();
  return found;
}

}  // namespace holdfast
