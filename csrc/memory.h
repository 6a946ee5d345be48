// The workspaces of the core, kept between calls: fresh memory costs a page fault for every page that is touched.
#pragma once

#include <cstddef>

namespace holdfast {

// At least `bytes` bytes, also for 0, that begin on a multiple of 64, from 1 MiB on of 2 MiB, with whatever content
// (all bits set in a build with HOLDFAST_POISON, hence NaN). The caller owns them until it gives them back, from any
// thread. Throws std::bad_alloc: take what a call needs before its team runs.
void* take(std::size_t bytes);

// Takes back what `take` returned, and keeps it for the next call. Null is ignored.
void give(void* block);

// Frees all that is kept.
void trim();

// Bytes that callers own, and bytes that are kept for them. Their sum never exceeds the most that callers owned at
// once since the last trim.
std::size_t in_use();
std::size_t kept();

}  // namespace holdfast
