#include "threads.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <new>
#include <stdexcept>
#include <thread>

#include "openmp.h"

#if defined(__linux__)
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#else
#include <condition_variable>
#include <mutex>
#endif

namespace holdfast {
namespace {

using Word = std::atomic<std::uint32_t>;

#if defined(__linux__)

static_assert(sizeof(Word) == 4 && Word::is_always_lock_free, "the kernel reads the word");

void sleep_while(Word& word, std::uint32_t value) {
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

void rouse(Word& word) { syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0); }

void forget_sleepers() {}

int count_processors() {
  cpu_set_t usable;
  if (sched_getaffinity(0, sizeof usable, &usable) == 0) return CPU_COUNT(&usable);
  return static_cast<int>(std::thread::hardware_concurrency());
}

void name_this_thread() { pthread_setname_np(pthread_self(), "holdfast"); }

using ThreadId = pid_t;
ThreadId this_thread() { return static_cast<ThreadId>(syscall(SYS_gettid)); }

int this_processor() { return sched_getcpu(); }

// Gives a worker the processors of the calling thread but for one.
void keep_from(ThreadId worker, int processor) {
  cpu_set_t usable;
  if (sched_getaffinity(0, sizeof usable, &usable) != 0 || processor < 0 || processor >= CPU_SETSIZE) return;
  CPU_CLR(processor, &usable);
  if (CPU_COUNT(&usable) > 0) sched_setaffinity(worker, sizeof usable, &usable);
}

#else

// One condition for all: sleeping is the exception here, a spurious wake-up costs little.
struct Sleepers {
  std::mutex mutex;
  std::condition_variable woken;
};
alignas(Sleepers) unsigned char sleepers_at[sizeof(Sleepers)];
Sleepers* sleepers = new (sleepers_at) Sleepers;

void sleep_while(Word& word, std::uint32_t value) {
  std::unique_lock<std::mutex> lock(sleepers->mutex);
  sleepers->woken.wait(lock, [&] { return word.load(std::memory_order_acquire) != value; });
}

void rouse(Word&) {
  { std::lock_guard<std::mutex> lock(sleepers->mutex); }
  sleepers->woken.notify_all();
}

void forget_sleepers() { sleepers = new (sleepers_at) Sleepers; }

int count_processors() { return static_cast<int>(std::thread::hardware_concurrency()); }

void name_this_thread() {}

using ThreadId = int;
ThreadId this_thread() { return 0; }
int this_processor() { return -1; }
void keep_from(ThreadId, int) {}

#endif

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("isb");
#endif
}

// Workers wait a little for the next call, because calls come in a row; within a call they own their processors.
constexpr std::chrono::nanoseconds kIdleSpin{30000}, kBusySpin{500000};

// The team has more threads than there are processors: whoever spins keeps the one it waits for from running.
std::atomic<bool> crowded{false};

// A count that one thread raises and one other waits for. The lowest bit tells the one who raises that the other
// sleeps, so that neither a fence nor a system call is due while both run.
class Signal {
 public:
  void raise(std::uint32_t count) {
    if (raise_and_tell(count)) wake();
  }

  // In two parts: true says that the other sleeps and has to be woken.
  bool raise_and_tell(std::uint32_t count) {
    return word_.exchange(count << 1, std::memory_order_acq_rel) & kAsleep;
  }
  void wake() { rouse(word_); }

  // Returns when the count has got to `count`, which is at most one more than it was when the wait began; true if it
  // did so within `spin`.
  bool wait(std::uint32_t count, std::chrono::nanoseconds spin) {
    if (spin_until(count, spin)) return true;
    std::uint32_t seen = word_.load(std::memory_order_acquire);
    while (!reached(seen, count)) {
      if (seen & kAsleep || word_.compare_exchange_weak(seen, seen | kAsleep, std::memory_order_acq_rel)) {
        sleep_while(word_, seen | kAsleep);
        seen = word_.load(std::memory_order_acquire);
      }
    }
    return false;
  }

  void clear() { word_.store(0, std::memory_order_relaxed); }

 private:
  static constexpr std::uint32_t kAsleep = 1;

  static bool reached(std::uint32_t word, std::uint32_t count) {
    return static_cast<std::int32_t>(word - (count << 1)) >= 0;
  }

  bool spin_until(std::uint32_t count, std::chrono::nanoseconds spin) {
    using Clock = std::chrono::steady_clock;
    if (check_often(count)) return true;
    if (crowded.load(std::memory_order_relaxed)) return false;
    for (const Clock::time_point start = Clock::now(); Clock::now() - start < spin;) {
      if (check_often(count)) return true;
    }
    return false;
  }

  bool check_often(std::uint32_t count) {
    constexpr int kChecks = 64;  // take about as long as 20 looks at the clock
    for (int check = 0; check < kChecks; ++check) {
      if (reached(word_.load(std::memory_order_acquire), count)) return true;
      pause();
    }
    return false;
  }

  // Far enough from any other that no two share what processors move between them.
  alignas(128) Word word_{0};
};

constexpr int kMostWorkers = 256;
constexpr int kRounds = 8;  // 2^kRounds workers meet in so many rounds
static_assert(1 << kRounds >= kMostWorkers, "each worker has to hear of every other");

struct Worker {
  Signal start, done;
  Signal met[kRounds];
  std::uint32_t runs = 0;      // how often it was started, counted by the thread that starts it
  std::uint32_t meetings = 0;  // barriers of this run, counted by the worker
  std::atomic<ThreadId> thread{0};
  int kept_from = -1;  // the processor on which it may not run, see start_run
};

// In static memory and without destructors: workers that sleep outlive whatever runs at exit.
Worker workers[kMostWorkers];  // 0 stands for the calling thread
std::atomic<bool> taken{false};
std::atomic<int> started{1};
std::atomic<int> largest_team{1};  // how many places threads have written to, whoever started them
int processors_here = 1;  // as of when the last worker was started
void (*current_work)(void*, int);
void* current_context;

thread_local int this_worker = 0;

void compute(void (*work)(void*, int), void* context, int worker) {
  FlushSubnormals flushed;
  work(context, worker);
}

void take_part(int worker) {
  compute(current_work, current_context, worker);
  Worker& here = workers[worker];
  if (here.meetings == 0) return;
  // All signals of this run have come: the last barrier waited for the last of them.
  for (Signal& met : here.met) met.clear();
  here.meetings = 0;
}

void* serve(void* place) {
  Worker& here = *static_cast<Worker*>(place);
  this_worker = static_cast<int>(&here - workers);
  here.thread.store(this_thread(), std::memory_order_relaxed);
  keep_from(this_thread(), here.kept_from);
  name_this_thread();
  for (std::uint32_t run = 1;; ++run) {
    here.start.wait(run, kIdleSpin);
    take_part(this_worker);
    here.done.raise(run);
  }
}

bool start_worker(Worker& worker) {
  constexpr std::size_t kStack = std::size_t{4} << 20;
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) return false;
  pthread_attr_setstacksize(&attributes, kStack);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  worker.kept_from = this_processor();
  // A worker inherits the mask; the program's signals are for the program's threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  const bool runs = pthread_create(&thread, &attributes, serve, &worker) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  return runs;
}

// Returns how many of `wanted` there are, the calling thread included.
int start_workers(int wanted) {
  int count = started.load(std::memory_order_relaxed);
  if (count < wanted) processors_here = count_processors();
  while (count < wanted) {
    started.store(count + 1, std::memory_order_relaxed);  // first, so that a child that is forked now cleans it up
    if (!start_worker(workers[count])) {
      started.store(count, std::memory_order_relaxed);
      break;
    }
    ++count;
  }
  return std::min(count, wanted);
}

// A thread that is woken often comes to the processor of the one who wakes it, though others are idle, and there waits
// for the very thread that waits for it, until the system moves one of them some milliseconds later. Hence a worker
// has to keep from the processor on which the caller is when it wakes the worker.
void start_run(Worker& worker) {
  if (!worker.start.raise_and_tell(++worker.runs)) return;
  const int here = this_processor();
  if (worker.kept_from != here) keep_from(worker.thread.load(std::memory_order_relaxed), here);
  worker.kept_from = here;
  worker.start.wake();
}

// One worker of a loop of the adopted runtime.
void take_part_for_once(int worker) {
  const int before = this_worker;
  this_worker = worker;
  take_part(worker);
  this_worker = before;
}

// A forked child has only the thread that forked.
void forget_workers() {
  forget_openmp();
  const int count = std::max(started.load(std::memory_order_relaxed), largest_team.load(std::memory_order_relaxed));
  for (int worker = 0; worker < count; ++worker) new (&workers[worker]) Worker;
  this_worker = 0;
  started.store(1, std::memory_order_relaxed);
  largest_team.store(1, std::memory_order_relaxed);
  forget_sleepers();
  taken.store(false, std::memory_order_relaxed);
}

const int registered = pthread_atfork(nullptr, nullptr, forget_workers);

#if defined(__x86_64__)
// MXCSR: flush to zero, denormals are zero, all exceptions masked, round to nearest.
constexpr std::uint64_t kMode = 0x8000 | 0x0040 | 0x1F80;
std::uint64_t mode() { return __builtin_ia32_stmxcsr(); }
void set_mode(std::uint64_t mode) { __builtin_ia32_ldmxcsr(static_cast<unsigned>(mode)); }
#elif defined(__aarch64__)
constexpr std::uint64_t kMode = std::uint64_t{1} << 24;  // FPCR.FZ
std::uint64_t mode() {
  std::uint64_t mode;
  __asm__ __volatile__("mrs %0, fpcr" : "=r"(mode));
  return mode;
}
void set_mode(std::uint64_t mode) { __asm__ __volatile__("msr fpcr, %0" : : "r"(mode)); }
#else
constexpr std::uint64_t kMode = 0;
std::uint64_t mode() { return 0; }
void set_mode(std::uint64_t) {}
#endif

}  // namespace

int processors() { return count_processors(); }

FlushSubnormals::FlushSubnormals() : before_(mode()) { set_mode(kMode); }

FlushSubnormals::~FlushSubnormals() { set_mode(before_); }

Team::Team(int wanted, int available) : size_(1) {
  if (wanted <= 1 || registered != 0 || taken.exchange(true, std::memory_order_acquire)) return;
  wanted = std::min(wanted, kMostWorkers);
  if (has_openmp()) {
    static thread_local int last_available = 0, last_granted = 0;
    available = std::max(wanted, std::min(available, kMostWorkers));
    if (available != last_available) {
      last_granted = granted_by_openmp(available);
      last_available = available;
      processors_here = count_processors();
    }
    adopted_ = last_granted;
    size_ = std::min(wanted, last_granted);
  } else {
    size_ = start_workers(wanted);
  }
  crowded.store(size_ > processors_here, std::memory_order_relaxed);
  largest_team.store(std::max(size_, largest_team.load(std::memory_order_relaxed)), std::memory_order_relaxed);
  if (size_ == 1) taken.store(false, std::memory_order_release);
}

Team::~Team() {
  if (size_ > 1) taken.store(false, std::memory_order_release);
}

int Team::size() const { return size_; }

void Team::run(void (*work)(void* context, int worker), void* context) {
  if (size_ == 1) return compute(work, context, 0);
  current_work = work;
  current_context = context;
  if (adopted_ > 0) {
    if (run_on_openmp(size_, adopted_, take_part_for_once)) return;
    // It was told to use fewer threads since it was last asked.
    forget_openmp();
    adopted_ = 0;
    if (start_workers(size_) != size_) throw std::runtime_error("the system starts no more threads");
  }
  for (int worker = 1; worker < size_; ++worker) start_run(workers[worker]);
  take_part(0);
  for (int worker = 1; worker < size_; ++worker) workers[worker].done.wait(workers[worker].runs, kBusySpin);
}

void Team::barrier() {
  if (size_ == 1) return;
  Worker& here = workers[this_worker];
  ++here.meetings;
  // In round r each hears from the one 2^r places before, who by then has heard from 2^r - 1 others.
  for (int round = 0, distance = 1; distance < size_; ++round, distance *= 2) {
    workers[(this_worker + distance) % size_].met[round].raise(here.meetings);
    here.met[round].wait(here.meetings, kBusySpin);
  }
}

}  // namespace holdfast
