// The random masks of src/holdfast/kernels/masks.py, bit for bit: Philox4x32-10 of a counter that says where the mask
// is used. Included by the sources of a level only.
#pragma once

#include "vec.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {

// One counter per lane.
typedef std::uint64_t Words __attribute__((vector_size(kVectorBytes)));
constexpr int kCounters = kVectorBytes / static_cast<int>(sizeof(std::uint64_t));
constexpr int kWordsOfCounter = 4;

struct MaskPlace {
  std::uint64_t seed;
  std::uint32_t row, step, place;  // b, t, (layer * 2 + direction) * 4 + stream
};

HOLDFAST_INLINE void philox(Words (&c)[kWordsOfCounter], std::uint64_t seed) {
  constexpr std::uint64_t kWord = 0xFFFFFFFF;
  std::uint64_t key0 = seed & kWord, key1 = seed >> 32;
  for (int round = 0; round < 10; ++round) {
    const Words product0 = c[0] * 0xD2511F53u, product1 = c[2] * 0xCD9E8D57u;
    c[0] = (product1 >> 32) ^ c[1] ^ key0;
    c[1] = product1 & kWord;
    c[2] = (product0 >> 32) ^ c[3] ^ key1;
    c[3] = product0 & kWord;
    key0 = (key0 + 0x9E3779B9u) & kWord;
    key1 = (key1 + 0xBB67AE85u) & kWord;
  }
}

// to[u] = 1 where the mask of unit u is true, else 0, for the units from `first`, a multiple of 4, up to `last`; it may
// write up to kVectorBytes / 2 units more.
template <class T>
void draw(T* to, Index first, Index last, std::uint64_t threshold, const MaskPlace& at) {
  Words lane = {};
  for (int l = 0; l < kCounters; ++l) lane[l] = static_cast<std::uint64_t>(l);
  for (Index unit = first; unit < last; unit += kCounters * kWordsOfCounter) {
    Words words[kWordsOfCounter] = {lane + static_cast<std::uint64_t>(unit / kWordsOfCounter),
                                    Words{} + at.row, Words{} + at.step, Words{} + at.place};
    philox(words, at.seed);
    std::uint64_t drawn[kWordsOfCounter][kCounters];
    __builtin_memcpy(drawn, words, sizeof drawn);
    for (int l = 0; l < kCounters; ++l) {
      for (int w = 0; w < kWordsOfCounter; ++w) {
        to[unit + l * kWordsOfCounter + w] = drawn[w][l] < threshold ? T{1} : T{0};
      }
    }
  }
}

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
