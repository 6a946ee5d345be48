#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <cfenv>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <limits>
#include <thread>
#include <vector>

#include "check.h"

namespace {

using holdfast::Team;

template <class Work>
void run(Team& team, Work work) {
  team.run([](void* context, int worker) { (*static_cast<Work*>(context))(worker); }, &work);
}

void each_worker_works_once() {
  for (int wanted : {-3, 0, 1, 2, 3, 5, 8}) {
    for (int call = 0; call < 50; ++call) {
      Team team(wanted);
      CHECK(team.size() == std::max(wanted, 1));
      std::vector<int> calls(team.size());
      for (int again = 1; again <= 20; ++again) {
        run(team, [&](int worker) { ++calls[worker]; });
        CHECK(std::all_of(calls.begin(), calls.end(), [&](int count) { return count == again; }));
      }
    }
  }
}

// Plain memory, so that ThreadSanitizer sees what the barriers do not order.
void barriers_order_what_workers_write(int wanted, int steps) {
  Team team(wanted);
  std::vector<int> at(team.size());
  run(team, [&](int worker) {
    for (int step = 1; step <= steps; ++step) {
      at[worker] = step;
      team.barrier();
      CHECK(std::all_of(at.begin(), at.end(), [&](int other) { return other == step; }));
      team.barrier();
    }
  });
}

void barriers_hold() {
  for (int wanted : {1, 2, 3, 4, 5, 7, 8}) {
    for (int call = 0; call < 10; ++call) barriers_order_what_workers_write(wanted, 1 + 7 * call);
  }
  barriers_order_what_workers_write(2, 5000);
}

void workers_that_are_late_are_waited_for() {
  using namespace std::chrono_literals;
  for (int late = 0; late < 3; ++late) {
    Team team(3);
    int done[3] = {};
    run(team, [&](int worker) {
      if (worker == late) std::this_thread::sleep_for(5ms);
      team.barrier();
      if (worker == late) std::this_thread::sleep_for(5ms);
      done[worker] = 1;
    });
    CHECK(done[0] + done[1] + done[2] == 3);
  }
}

void a_team_within_a_team_is_its_caller_alone() {
  Team team(3);
  run(team, [&](int) {
    Team inner(3);
    CHECK(inner.size() == 1);
    int calls = 0;
    run(inner, [&](int worker) {
      CHECK(worker == 0);
      ++calls;
      inner.barrier();
    });
    CHECK(calls == 1);
    team.barrier();
  });
}

void call_often(std::atomic<int>& with_workers, int calls) {
  for (int call = 0; call < calls; ++call) {
    Team team(3);
    if (team.size() > 1) CHECK(++with_workers == 1);
    std::vector<int> sums(team.size());
    run(team, [&](int worker) {
      for (int step = 0; step < 5; ++step) {
        ++sums[worker];
        team.barrier();
      }
    });
    CHECK(std::all_of(sums.begin(), sums.end(), [](int sum) { return sum == 5; }));
    if (team.size() > 1) --with_workers;
  }
}

void threads_may_call_at_once() {
  std::atomic<int> with_workers{0};
  std::vector<std::thread> threads;
  for (int k = 0; k < 4; ++k) threads.emplace_back([&] { call_often(with_workers, 200); });
  for (std::thread& thread : threads) thread.join();
}

void work_in_child() {
  Team team(3);
  CHECK(team.size() == 3);
  std::atomic<int> sum{0};
  run(team, [&](int worker) {
    sum += worker + 1;
    team.barrier();
    CHECK(sum == 6);
  });
}

void a_child_has_workers_of_its_own() {
  for (int k = 0; k < 3; ++k) {
    CHECK(passes_in_child([] {
      work_in_child();
      CHECK(passes_in_child(work_in_child));
    }));
    work_in_child();
  }
}

void a_child_is_forked_while_a_team_works() {
  std::atomic<bool> stop{false}, began{false};
  std::thread other([&] {
    Team team(3);
    run(team, [&](int worker) {
      // All stop after the same step: worker 0 says when.
      static bool last;
      for (bool go = true; go;) {
        if (worker == 0) last = stop;
        team.barrier();
        go = !last;
        began = true;
        team.barrier();
      }
    });
  });
  while (!began) std::this_thread::yield();
  for (int k = 0; k < 10; ++k) CHECK(passes_in_child(work_in_child));
  stop = true;
  other.join();
  work_in_child();
}

// Their values are read afresh, so that the processor computes with them and not the compiler.
volatile float smallest_normal = std::numeric_limits<float>::min();
volatile float subnormal = std::numeric_limits<float>::denorm_min();
volatile double smallest_double = std::numeric_limits<double>::min();

bool flushes() { return smallest_normal * 0.5f == 0.0f && smallest_double * 0.5 == 0.0 && subnormal * 1e30f == 0.0f; }
bool keeps() { return smallest_normal * 0.5f > 0.0f && smallest_double * 0.5 > 0.0 && subnormal * 1e30f > 0.0f; }

#if defined(__x86_64__) || defined(__aarch64__)
constexpr bool kFlushes = true;
#else
constexpr bool kFlushes = false;
#endif

void subnormals_are_flushed_within_a_run_only() {
  CHECK(keeps());
  for (int wanted : {1, 3}) {
    Team team(wanted);
    run(team, [&](int) { CHECK(flushes() == kFlushes); });
    CHECK(keeps());
  }
  {
    holdfast::FlushSubnormals flushed;
    CHECK(flushes() == kFlushes);
    {
      holdfast::FlushSubnormals again;
      CHECK(flushes() == kFlushes);
    }
    CHECK(flushes() == kFlushes);
  }
  CHECK(keeps());
  std::thread([] { CHECK(keeps()); }).join();
}

void the_program_keeps_its_floating_point_state() {
  std::feclearexcept(FE_ALL_EXCEPT);
  std::feraiseexcept(FE_DIVBYZERO);
  std::fesetround(FE_UPWARD);
  Team team(3);
  run(team, [&](int) {
    volatile float one = 1.0f, little = 1e-10f;
    if (kFlushes) CHECK(one + little == one);
    volatile float zero = 0.0f, nan = zero / zero;  // invalid
    CHECK(nan != nan);
  });
  CHECK(std::fegetround() == FE_UPWARD);
  if (kFlushes) CHECK(std::fetestexcept(FE_DIVBYZERO) == FE_DIVBYZERO);
#if defined(__x86_64__)
  CHECK(std::fetestexcept(FE_INVALID) == 0);  // on AArch64 the flags are in another register, which work may set
#endif
  std::fesetround(FE_TONEAREST);
  std::feclearexcept(FE_ALL_EXCEPT);
}

void workers_take_no_signals() {
  Team team(2);
  run(team, [](int worker) {
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
    CHECK(sigismember(&blocked, SIGINT) == (worker > 0));
  });
}

// Also after the workers were moved away from it.
void the_caller_keeps_its_processors() {
#if defined(__linux__)
  cpu_set_t before, after;
  CHECK(sched_getaffinity(0, sizeof before, &before) == 0);
  for (int call = 0; call < 20; ++call) {
    Team team(2);
    run(team, [](int) {});
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  CHECK(sched_getaffinity(0, sizeof after, &after) == 0);
  CHECK(CPU_EQUAL(&before, &after));
#endif
}

void idle_workers_sleep() {
  {
    Team team(2);  // not more than there are processors: these spin
    run(team, [](int) {});
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const std::clock_t before = std::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  CHECK(std::clock() - before < CLOCKS_PER_SEC / 20);
}

void a_team_has_a_limit() {
  Team team(100000);
  CHECK(team.size() > 1 && team.size() <= 256);
  std::atomic<int> calls{0};
  run(team, [&](int) {
    ++calls;
    team.barrier();
    CHECK(calls == team.size());
  });
}

}  // namespace

int main() {
  each_worker_works_once();
  barriers_hold();
  workers_that_are_late_are_waited_for();
  a_team_within_a_team_is_its_caller_alone();
  threads_may_call_at_once();
  if (!emulated()) {
    a_child_has_workers_of_its_own();
    a_child_is_forked_while_a_team_works();
  }
  subnormals_are_flushed_within_a_run_only();
  the_program_keeps_its_floating_point_state();
  workers_take_no_signals();
  the_caller_keeps_its_processors();
  idle_workers_sleep();
  a_team_has_a_limit();
  return failures != 0;
}
