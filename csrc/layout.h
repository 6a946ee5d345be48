// How the core lays out what it packs. Plain numbers, shared by the levels and by the code around them.
//
// A block is what one register tile holds of a step: `group` vectors of units with all of their gates side by side.
// Its panel has `vectors` = gates * group vectors, in the order [gate][vector of units][lane]. The last block may
// reach past H: its weights are zero there. A matrix of a cell's own is laid out as if it were the weights of one gate.
#pragma once

#include "recurrence.h"

// A call would spill every vector register, and compilers stop inlining where the caller grows large. And what the
// levels share must leave no copy of its own in them: the linker would keep one, maybe one for AVX-512.
#define HOLDFAST_INLINE inline __attribute__((always_inline))

namespace holdfast {

constexpr int kMostTileRows = 6;
constexpr int kMostVectors = 4;  // of a register tile; a panel may have more
constexpr Index kAlignment = 64;

HOLDFAST_INLINE constexpr Index round_up(Index n, Index multiple) { return (n + multiple - 1) / multiple * multiple; }
HOLDFAST_INLINE constexpr Index ceil_div(Index n, Index by) { return (n + by - 1) / by; }

// How many vectors of units make up a panel of up to kMostVectors with all their gates.
HOLDFAST_INLINE constexpr int group_of(int gates) { return gates < kMostVectors ? kMostVectors / gates : 1; }

struct Layout {
  Index inputs, width, hidden;  // I, W, H
  int gates, lanes, group;      // group: group_of(gates)

  HOLDFAST_INLINE int vectors() const { return gates * group; }
  HOLDFAST_INLINE Index units() const { return Index{group} * lanes; }         // of a block
  HOLDFAST_INLINE Index columns() const { return Index{vectors()} * lanes; }   // of a panel
  HOLDFAST_INLINE Index blocks() const { return ceil_div(hidden, units()); }
  HOLDFAST_INLINE Index padded() const { return blocks() * units(); }          // H, up to whole blocks
  HOLDFAST_INLINE Index gate_columns() const { return blocks() * columns(); }  // G*H, up to whole blocks

  // Products that lead to the gates: panel b is [I + W, columns], the rows of weight_ih above those of weight_hh.
  HOLDFAST_INLINE Index forward_panel() const { return (inputs + width) * columns(); }
  HOLDFAST_INLINE Index forward_size() const { return blocks() * forward_panel(); }

  // Products that lead back to `own` columns of x or h: panels [gate_columns, 4 vectors], the last one narrower.
  HOLDFAST_INLINE Index backward_columns() const { return Index{kMostVectors} * lanes; }
  HOLDFAST_INLINE Index backward_panels(Index own) const { return ceil_div(own, backward_columns()); }
  HOLDFAST_INLINE int backward_vectors(Index own, Index panel) const {
    const Index rest = own - panel * backward_columns();
    return rest >= backward_columns() ? kMostVectors : static_cast<int>(ceil_div(rest, lanes));
  }
  HOLDFAST_INLINE Index backward_size(Index own) const {
    return backward_panels(own) * gate_columns() * backward_columns();
  }

  // Weight gradients: for each block and each group of kMostTileRows columns of [x, h] one tile.
  HOLDFAST_INLINE Index column_groups(Index own) const { return ceil_div(own, kMostTileRows); }
};

}  // namespace holdfast
