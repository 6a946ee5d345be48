#include "memory.h"

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define HOLDFAST_FENCES
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HOLDFAST_FENCES
#endif
#endif
#if defined(HOLDFAST_FENCES)
#include <sanitizer/asan_interface.h>
#endif

namespace holdfast {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kMapped = std::size_t{1} << 20;  // from here on blocks are mapped, and may use huge pages
constexpr std::size_t kHugePage = std::size_t{2} << 20;
#if defined(HOLDFAST_FENCES)
constexpr std::size_t kGuard = 64;  // at least so much behind each block may not be touched
#else
constexpr std::size_t kGuard = 0;
#endif

struct Block {
  void* at;
  std::size_t bytes;
  bool owned;
};

struct Store {
  std::mutex mutex;
  std::vector<Block> blocks;  // the one that was given back last is the last one
  std::size_t owned = 0, kept = 0, most = 0;
};

// Never destroyed: a thread may give a block back while the program exits.
Store& store() {
  static Store& store = *new Store;
  return store;
}

// A child that is forked while another thread holds the lock could never take it.
[[maybe_unused]] const int registered = pthread_atfork([] { store().mutex.lock(); }, [] { store().mutex.unlock(); },
                                                       [] { store().mutex.unlock(); });

// Rounded up in steps of an eighth to a sixteenth, so that calls that differ little use the same blocks.
std::size_t size_class(std::size_t bytes) {
  std::size_t step = kLine;
  while (step * 16 < bytes) step *= 2;
  return std::max(kLine, (bytes + step - 1) / step * step);
}

void* map(std::size_t bytes) {
  // Longer by a huge page, of which go back the parts before and after the aligned block.
  void* const mapped = mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  char* const begin = static_cast<char*>(mapped);
  const std::size_t before = (kHugePage - reinterpret_cast<std::uintptr_t>(begin) % kHugePage) % kHugePage;
  if (before > 0) munmap(begin, before);
  if (before < kHugePage) munmap(begin + before + bytes, kHugePage - before);
#if defined(MADV_HUGEPAGE)
  madvise(begin + before, bytes, MADV_HUGEPAGE);
#endif
  return begin + before;
}

void* allocate(std::size_t bytes) {
  if (bytes >= kMapped) return map(bytes);
  void* at = nullptr;
  return posix_memalign(&at, kLine, bytes) == 0 ? at : nullptr;
}

// Under AddressSanitizer only the first `usable` bytes of a block may be touched.
void fence([[maybe_unused]] const Block& block, [[maybe_unused]] std::size_t usable) {
#if defined(HOLDFAST_FENCES)
  ASAN_UNPOISON_MEMORY_REGION(block.at, usable);
  ASAN_POISON_MEMORY_REGION(static_cast<char*>(block.at) + usable, block.bytes - usable);
#endif
}

void release(const Block& block) {
  fence(block, block.bytes);
  if (block.bytes >= kMapped) {
    munmap(block.at, block.bytes);
  } else {
    std::free(block.at);
  }
}

// Frees what was kept longest until no more than `limit` is held, or nothing is kept.
void shrink(Store& here, std::size_t limit) {
  for (std::size_t b = 0; b < here.blocks.size() && here.owned + here.kept > limit;) {
    if (here.blocks[b].owned) {
      ++b;
      continue;
    }
    here.kept -= here.blocks[b].bytes;
    release(here.blocks[b]);
    here.blocks.erase(here.blocks.begin() + b);
  }
}

// The smallest kept block of at least `bytes`, of equal ones the last given, which is most likely in the caches; or
// blocks.end(): one that is more than twice as large is left for others.
std::vector<Block>::iterator find_kept(Store& here, std::size_t bytes) {
  auto best = here.blocks.end();
  for (auto block = here.blocks.begin(); block != here.blocks.end(); ++block) {
    if (block->owned || block->bytes < bytes || block->bytes / 2 > bytes) continue;
    if (best == here.blocks.end() || block->bytes <= best->bytes) best = block;
  }
  return best;
}

Block own(Store& here, std::size_t bytes) {
  if (auto found = find_kept(here, bytes); found != here.blocks.end()) {
    found->owned = true;
    here.kept -= found->bytes;
    here.owned += found->bytes;
    return *found;
  }
  // First, so that not even for a moment more is held than callers owned at once.
  shrink(here, std::max(here.most, here.owned + bytes) - bytes);
  here.blocks.reserve(here.blocks.size() + 1);
  const Block block = {allocate(bytes), bytes, true};
  if (block.at == nullptr) throw std::bad_alloc();
  here.blocks.push_back(block);
  here.owned += bytes;
  here.most = std::max(here.most, here.owned);
  return block;
}

}  // namespace

void* take(std::size_t bytes) {
  if (bytes > PTRDIFF_MAX / 2) throw std::bad_alloc();
  const std::size_t size = size_class(bytes + kGuard);
  Store& here = store();
  Block block;
  {
    std::lock_guard<std::mutex> lock(here.mutex);
    block = own(here, size);
  }
  fence(block, bytes);
#if defined(HOLDFAST_POISON)
  std::memset(block.at, 0xFF, bytes);
#endif
  return block.at;
}

void give(void* at) {
  if (at == nullptr) return;
  Store& here = store();
  std::lock_guard<std::mutex> lock(here.mutex);
  const auto found = std::find_if(here.blocks.begin(), here.blocks.end(), [&](const Block& b) { return b.at == at; });
  if (found == here.blocks.end() || !found->owned) std::abort();  // not taken, or given back twice
  fence(*found, 0);
  found->owned = false;
  here.owned -= found->bytes;
  here.kept += found->bytes;
  std::rotate(found, found + 1, here.blocks.end());
}

void trim() {
  Store& here = store();
  std::lock_guard<std::mutex> lock(here.mutex);
  here.most = here.owned;
  shrink(here, here.owned);
}

std::size_t in_use() {
  Store& here = store();
  std::lock_guard<std::mutex> lock(here.mutex);
  return here.owned;
}

std::size_t kept() {
  Store& here = store();
  std::lock_guard<std::mutex> lock(here.mutex);
  return here.kept;
}

}  // namespace holdfast
