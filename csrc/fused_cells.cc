// The fused cells of a level.
#include "generated/cells.h"

#include "cell_table.h"
#include "kernels.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {

// Constants: nothing of a level may run before its processor is known.
extern const CellList fused_cells;
constexpr PrintedCell kCells[] = {HOLDFAST_CELLS(HOLDFAST_FUSED_CELL)};
const CellList fused_cells = {kCells, sizeof kCells / sizeof kCells[0]};

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
