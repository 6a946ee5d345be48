// The library of one cell of a user's own. src/holdfast/compiling compiles it alone, with the printed cell in front.
#include "cell_library.h"
#include "cell_table.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {
namespace {

constexpr PrintedCell kCells[] = {HOLDFAST_OWN_FUSED_CELLS(HOLDFAST_FUSED_CELL)
                                      HOLDFAST_OWN_STAGED_CELLS(HOLDFAST_STAGED_CELL)};

}  // namespace

extern "C" __attribute__((visibility("default"))) const CellLibrary holdfast_cells;
const CellLibrary holdfast_cells = {HOLDFAST_BUILT_FROM, library_sizes(kVectorBytes), sizeof kCells / sizeof kCells[0],
                                    kCells};

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
