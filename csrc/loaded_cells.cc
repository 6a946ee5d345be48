// Cells that users invented: each compiled alone into a library, loaded once, never unloaded.
#include "loaded_cells.h"

#include <deque>
#include <mutex>
#include <stdexcept>
#include <string>

namespace holdfast {
namespace {

std::mutex mutex;

// A deque: what lies in it stays where it is.
std::deque<PrintedCell>& loaded() {
  static auto* cells = new std::deque<PrintedCell>;  // calls may still run when static objects are destroyed
  return *cells;
}

}  // namespace

int add_cell(const Kernels& kernels, const PrintedCell& cell) {
  const std::lock_guard<std::mutex> lock(mutex);
  loaded().push_back(cell);
  return kernels.cell_count() + static_cast<int>(loaded().size()) - 1;
}

const PrintedCell* find_cell(const Kernels& kernels, int cell) {
  if (cell < 0) return nullptr;
  for (const CellList* list : kernels.built_in) {
    if (cell < list->count) return list->cells + cell;
    cell -= list->count;
  }
  const std::lock_guard<std::mutex> lock(mutex);
  const auto place = static_cast<std::size_t>(cell);
  return place < loaded().size() ? &loaded()[place] : nullptr;
}

const PrintedCell& printed_cell(const Kernels& kernels, int cell) {
  const PrintedCell* found = find_cell(kernels, cell);
  if (!found) throw std::invalid_argument("there is no cell " + std::to_string(cell));
  return *found;
}

}  // namespace holdfast
