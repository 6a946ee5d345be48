// The threads of the core: workers that are started once and kept, or those of the program's OpenMP runtime (openmp.h),
// a team of them for each call, and the floating-point mode in which they compute. Nothing here is inline, because the
// units of each level include it.
#pragma once

#include <cstdint>

namespace holdfast {

// How many processors this thread may run on.
int processors();

// While it lives, this thread computes in the core's own floating-point mode, whatever the program chose: results and
// operands that are subnormal are zero, rounding is to nearest, nothing traps. Then all is as it was before, sticky
// flags included. Elsewhere than on x86-64 and AArch64 it does nothing.
class FlushSubnormals {
 public:
  FlushSubnormals();
  ~FlushSubnormals();
  FlushSubnormals(const FlushSubnormals&) = delete;
  FlushSubnormals& operator=(const FlushSubnormals&) = delete;

 private:
  std::uint64_t before_;
};

// The calling thread and some kept workers, for the length of one call. Only one team at a time has workers: while
// there is one, any other team is its caller alone, without waiting. A team is used by the thread that made it, in the
// process that made it; a child that was forked meanwhile starts workers of its own when it needs them.
class Team {
 public:
  // At most `wanted` threads, the caller included. 1 or less never touches the workers. `available` is how many the
  // program uses at most: see run_on_openmp.
  explicit Team(int wanted, int available = 0);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  // How many threads `run` uses: 1 if the workers are busy with another team, fewer than wanted if the system refuses
  // to start more.
  int size() const;

  // Calls work(context, worker) for each worker from 0 to size() - 1, worker 0 on the calling thread, and returns when
  // all are done. What the caller wrote before is seen by all, and what they wrote is seen by the caller afterwards.
  // Each computes under FlushSubnormals. `work` must not throw, nor call run of the same team.
  void run(void (*work)(void* context, int worker), void* context);

  // Called by every worker of a run: returns when all have called it as often. What each wrote before is then seen by
  // all.
  void barrier();

 private:
  int size_;
  int adopted_ = 0;  // threads of a loop of the OpenMP runtime, 0 where there is none
};

}  // namespace holdfast
