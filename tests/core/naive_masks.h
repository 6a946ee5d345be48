// The random masks of src/holdfast/kernels/masks.py, one unit at a time.
#pragma once

#include <array>
#include <cstdint>

#include "recurrence.h"

using Words = std::array<std::uint32_t, 4>;

// Philox4x32-10.
inline Words philox(Words c, std::uint32_t key0, std::uint32_t key1) {
  for (int round = 0; round < 10; ++round, key0 += 0x9E3779B9, key1 += 0xBB67AE85) {
    const std::uint64_t product0 = std::uint64_t{0xD2511F53} * c[0], product1 = std::uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<std::uint32_t>(product1 >> 32) ^ c[1] ^ key0, static_cast<std::uint32_t>(product1),
         static_cast<std::uint32_t>(product0 >> 32) ^ c[3] ^ key1, static_cast<std::uint32_t>(product0)};
  }
  return c;
}

// Whether the mask takes that unit of row b at step t.
inline bool takes(const holdfast::Draw& draw, std::uint64_t seed, int layer, int direction, holdfast::Index t,
                  holdfast::Index b, holdfast::Index unit) {
  const Words counter = {static_cast<std::uint32_t>(unit / 4), static_cast<std::uint32_t>(b),
                         static_cast<std::uint32_t>(t), (layer * 2u + direction) * 4 + draw.stream};
  const Words words = philox(counter, static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
  return words[unit % 4] < draw.threshold;
}
