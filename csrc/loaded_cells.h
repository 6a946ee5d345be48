// Cells besides those that are built in.
#pragma once

#include "kernels.h"

namespace holdfast {

// Takes in a cell whose code runs at the level of `kernels`; returns the number by which calls name it from then on.
int add_cell(const Kernels& kernels, const PrintedCell& cell);

// That cell, or null where there is none.
const PrintedCell* find_cell(const Kernels& kernels, int cell);

}  // namespace holdfast
