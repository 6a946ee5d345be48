// What the library of a user's own cell exports, under the name `holdfast_cells`. Plain data: the core reads it before
// it knows whether the rest fits.
#pragma once

#include "direction.h"

namespace holdfast {

// How large the core has what both share.
struct LibrarySizes {
  int library, cell, forward_pass, backward_pass, frame, staged_row, vector;
};

struct CellLibrary {
  const char* built_from;  // HOLDFAST_BUILT_FROM, of the core that it is for
  LibrarySizes sizes;
  int count;
  const PrintedCell* cells;
};

constexpr LibrarySizes library_sizes(int vector_bytes) {
  return {sizeof(CellLibrary),         sizeof(PrintedCell),   sizeof(ForwardPass<float>),
          sizeof(BackwardPass<float>), sizeof(Frame<float>), sizeof(StagedRow<float>), vector_bytes};
}

}  // namespace holdfast
