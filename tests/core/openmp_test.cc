// Teams of the threads of an OpenMP runtime, GCC's, where there is one.
#include "openmp.h"

#include <dlfcn.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "check.h"
#include "threads.h"

namespace {

using holdfast::Team;

constexpr const char* kLibrary = "libgomp.so.1";
constexpr int kSkipped = 77;

template <class Work>
void run(Team& team, Work work) {
  team.run([](void* context, int worker) { (*static_cast<Work*>(context))(worker); }, &work);
}

// Returns the size of the team.
int work_with_barriers(int wanted, int available) {
  Team team(wanted, available);
  std::vector<int> at(team.size());
  run(team, [&](int worker) {
    for (int step = 1; step <= 50; ++step) {
      at[worker] = step;
      team.barrier();
      CHECK(std::all_of(at.begin(), at.end(), [&](int other) { return other == step; }));
      team.barrier();
    }
  });
  CHECK(std::all_of(at.begin(), at.end(), [](int last) { return last == 50; }));
  return team.size();
}

void teams_are_of_the_size_that_was_asked_for() {
  for (int call = 0; call < 20; ++call) {
    CHECK(work_with_barriers(3, 3) == 3);
    CHECK(work_with_barriers(2, 3) == 2);  // of a loop over 3
    CHECK(work_with_barriers(4, 0) == 4);
    CHECK(work_with_barriers(1, 3) == 1);
  }
}

void other_threads_may_call_too() {
  std::vector<std::thread> threads;
  for (int k = 0; k < 3; ++k) {
    threads.emplace_back([] {
      for (int call = 0; call < 50; ++call) work_with_barriers(3, 3);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

volatile float smallest_normal = 1.17549435e-38f;

void subnormals_are_as_they_were_after_a_run() {
  Team team(3, 3);
  for (int call = 0; call < 2; ++call) {
    run(team, [](int) {
#if defined(__x86_64__) || defined(__aarch64__)
      CHECK(smallest_normal * 0.5f == 0.0f);
#endif
    });
    CHECK(smallest_normal * 0.5f > 0.0f);
  }
}

// The runtime dies with the fork; workers of the child's own begin where the others left nothing behind.
void a_child_has_workers_of_its_own() {
  CHECK(passes_in_child([] {
    CHECK(!holdfast::has_openmp());
    CHECK(work_with_barriers(4, 4) == 4);
  }));
  CHECK(holdfast::has_openmp());
}

void a_child_is_forked_while_a_team_works() {
  std::atomic<bool> stop{false}, began{false};
  std::thread other([&] {
    Team team(3, 3);
    bool last = false;
    run(team, [&](int worker) {
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
  for (int k = 0; k < 10; ++k) CHECK(passes_in_child([] { CHECK(work_with_barriers(4, 4) == 4); }));
  stop = true;
  other.join();
}

}  // namespace

int main() {
  CHECK(!holdfast::adopt_openmp("libno_such_runtime.so"));
  CHECK(!holdfast::has_openmp());
  if (dlopen(kLibrary, RTLD_NOW) == nullptr) {
    std::printf("skipped: %s\n", dlerror());
    return kSkipped;
  }
  CHECK(holdfast::adopt_openmp(kLibrary));
  CHECK(holdfast::has_openmp());
  teams_are_of_the_size_that_was_asked_for();
  other_threads_may_call_too();
  subnormals_are_as_they_were_after_a_run();
  if (!emulated()) {
    a_child_has_workers_of_its_own();
    a_child_is_forked_while_a_team_works();
  }
  holdfast::forget_openmp();
  CHECK(work_with_barriers(3, 3) == 3);
  return failures != 0;
}
