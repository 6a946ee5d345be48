// The staged cells of a level.
#include "generated/staged_cells.h"

#include "cell_table.h"
#include "kernels.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {

extern const CellList staged_cells;
constexpr PrintedCell kCells[] = {HOLDFAST_STAGED_CELLS(HOLDFAST_STAGED_CELL)};
const CellList staged_cells = {kCells, sizeof kCells / sizeof kCells[0]};

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
