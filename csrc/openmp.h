// The threads of the OpenMP runtime that a program has anyway, PyTorch's for one. They spin for milliseconds after each
// of its loops, on the very processors that workers of our own would need then: so they had better be the workers.
#pragma once

namespace holdfast {

// From now on the core's teams are made of threads of this runtime, if the program has loaded it from that path. False,
// and nothing changes, if it has not, or if the runtime lacks the entries of GCC's.
bool adopt_openmp(const char* library);

// Goes back to workers of our own, as a forked child has to: no such runtime survives a fork.
void forget_openmp();

// Whether there is one for the calling thread to use: not from within its own loops.
bool has_openmp();

// How many threads a loop over `wanted` threads really gets when the calling thread begins it.
int granted_by_openmp(int wanted);

// Calls work(worker) on the first `threads` threads of a loop over `granted`, worker 0 on the calling one, and returns
// when all are done. False, and no call was made, if the runtime grants another number by now. Loops had better be
// over as many threads as the program's own: the runtime ends those that a smaller loop leaves over.
bool run_on_openmp(int threads, int granted, void (*work)(int worker));

}  // namespace holdfast
