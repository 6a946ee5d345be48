// Cells besides those that are built in.
#pragma once

#include <string>
#include <vector>

#include "kernels.h"

namespace holdfast {

// Takes in a cell whose code runs at the level of `kernels`; returns the number by which calls name it from then on.
int add_cell(const Kernels& kernels, const PrintedCell& cell);

// That cell, or null where there is none.
const PrintedCell* find_cell(const Kernels& kernels, int cell);

// Takes in the cells of a library that user_cell.cc gave, and never lets go of it; returns their numbers. Throws
// std::runtime_error where it is no library that loads here, std::invalid_argument if it is none for this core.
std::vector<int> load_cells(const Kernels& kernels, const std::string& path);

// What such a library is compiled from, by name, with a space between two; and the digest of all that.
const char* cell_sources();
const char* cell_digest();

}  // namespace holdfast
