// What the test programs share: CHECK and forked children.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>

inline std::atomic<int> failures{0};

// Says what does not hold, and where; main returns failures != 0.
#define CHECK(...) ((__VA_ARGS__) ? void() : check_failed(__FILE__, __LINE__, #__VA_ARGS__))

inline void check_failed(const char* file, int line, const char* condition) {
  if (++failures <= 20) std::printf("%s:%d: %s does not hold\n", file, line, condition);
}

// Whether qemu-user runs the program: it is slow, and crashes where a program that has threads forks.
inline bool emulated() { return std::getenv("HOLDFAST_EMULATED") != nullptr; }

// Whether `work` passes its checks in a forked child, in a minute at most.
template <class Work>
bool passes_in_child(Work work) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    failures = 0;
    work();
    std::fflush(stdout);
    _exit(failures != 0);
  }
  int status = 0;
  return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
