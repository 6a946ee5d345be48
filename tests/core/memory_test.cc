#include "memory.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <new>
#include <random>
#include <thread>
#include <vector>

#include "check.h"

namespace {

using namespace holdfast;

constexpr std::size_t kMiB = std::size_t{1} << 20;

bool begins_at_multiple_of(const void* block, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(block) % bytes == 0;
}

void blocks_are_aligned_and_large_enough() {
  for (std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{63}, std::size_t{64}, std::size_t{65},
                            std::size_t{1000}, std::size_t{4097}, kMiB - 1, kMiB, kMiB + 1, 5 * kMiB + 7}) {
    void* block = take(bytes);
    CHECK(begins_at_multiple_of(block, 64));
    if (bytes >= kMiB) CHECK(begins_at_multiple_of(block, 2 * kMiB));
#if defined(HOLDFAST_POISON)
    const auto* content = static_cast<const unsigned char*>(block);
    CHECK(std::all_of(content, content + bytes, [](unsigned char byte) { return byte == 0xFF; }));
#endif
    std::memset(block, 1, bytes);
    CHECK(in_use() >= bytes);
    give(block);
    CHECK(in_use() == 0);
  }
  trim();
  CHECK(kept() == 0);
}

void blocks_are_used_again() {
  for (std::size_t bytes : {std::size_t{100}, 100 * std::size_t{1000}, 3 * kMiB}) {
    void* first = take(bytes);
    give(first);
    CHECK(kept() >= bytes);
    void* second = take(bytes - bytes / 50);
    CHECK(second == first && kept() == 0);
    void* third = take(bytes);
    CHECK(third != second);
    give(second);
    give(third);
    void* fourth = take(bytes);
    CHECK(fourth == third);
    give(fourth);
    trim();
  }
}

void a_much_larger_block_is_left_for_others() {
  void* large = take(2 * kMiB);
  void* small[2] = {take(1000), take(1000)};
  give(small[0]);
  give(large);
  small[0] = take(1000);
  CHECK(kept() >= 2 * kMiB);
  void* again = take(2 * kMiB);
  CHECK(again == large && kept() == 0);
  for (void* block : {again, small[0], small[1]}) give(block);
  // One that is little larger serves as well.
  again = take(3 * kMiB / 2);
  CHECK(again == large);
  give(again);
  trim();
}

// In any order of calls.
void no_more_is_held_than_was_in_use_at_once() {
  std::mt19937 words(7);
  std::vector<void*> owned;
  std::size_t most = 0;
  for (int call = 0; call < 20000; ++call) {
    if (owned.empty() || (owned.size() < 12 && words() % 2 != 0)) {
      owned.push_back(take(std::size_t{1} << words() % 22 | words() % 4096));
    } else {
      std::swap(owned[words() % owned.size()], owned.back());
      give(owned.back());
      owned.pop_back();
    }
    most = std::max(most, in_use());
    CHECK(in_use() + kept() <= most);
    if (words() % 1000 == 0) {
      trim();
      most = in_use();
      CHECK(kept() == 0);
    }
  }
  for (void* block : owned) give(block);
  trim();
  CHECK(in_use() == 0 && kept() == 0);
}

template <class Work>
bool refuses(Work work) {
  try {
    work();
  } catch (const std::bad_alloc&) {
    return true;
  }
  return false;
}

void what_is_too_much_is_refused() {
  void* block = take(1000);
  for (std::size_t bytes : {std::numeric_limits<std::size_t>::max(), std::numeric_limits<std::size_t>::max() / 2,
                            std::size_t{1} << 60}) {
    CHECK(refuses([&] { take(bytes); }));
  }
  give(nullptr);
  give(block);
  CHECK(in_use() == 0 && in_use() + kept() < 2000);
  trim();
}

void blocks_may_come_from_and_go_to_any_thread() {
  std::vector<std::thread> threads;
  for (unsigned k = 0; k < 4; ++k) {
    threads.emplace_back([k] {
      std::mt19937 words(k);
      for (int call = 0; call < 300; ++call) {
        const std::size_t bytes = words() % 20000 + 1;
        auto* block = static_cast<unsigned char*>(take(bytes));
        std::memset(block, static_cast<int>(k), bytes);
        std::this_thread::yield();
        CHECK(std::all_of(block, block + bytes, [&](unsigned char byte) { return byte == k; }));
        if (call % 3 == 0) {
          std::thread([block] { give(block); }).join();
        } else {
          give(block);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(in_use() == 0);
  trim();
}

void a_child_that_is_forked_meanwhile_can_take_and_give() {
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop) give(take(100));
  });
  for (int k = 0; k < 50; ++k) {
    CHECK(passes_in_child([] {
      void* block = take(5000);
      std::memset(block, 1, 5000);
      give(block);
      trim();
    }));
  }
  stop = true;
  other.join();
  trim();
}

void a_block_is_given_back_once() {
  CHECK(!passes_in_child([] {
    void* block = take(10);
    give(block);
    give(block);
  }));
}

#if defined(__SANITIZE_ADDRESS__)
void what_is_beyond_a_block_must_not_be_touched() {
  std::printf("the next two reports of AddressSanitizer are what is tested\n");
  CHECK(!passes_in_child([] { static_cast<volatile char*>(take(kMiB))[kMiB] = 1; }));
  CHECK(!passes_in_child([] {
    auto* block = static_cast<volatile char*>(take(100));
    give(const_cast<char*>(block));
    block[0] = 1;
  }));
}
#endif

}  // namespace

int main() {
  blocks_are_aligned_and_large_enough();
  blocks_are_used_again();
  a_much_larger_block_is_left_for_others();
  no_more_is_held_than_was_in_use_at_once();
  what_is_too_much_is_refused();
  blocks_may_come_from_and_go_to_any_thread();
  if (!emulated()) {
    a_child_that_is_forked_meanwhile_can_take_and_give();
    a_block_is_given_back_once();
  }
#if defined(__SANITIZE_ADDRESS__)
  what_is_beyond_a_block_must_not_be_touched();
#endif
  return failures != 0;
}
