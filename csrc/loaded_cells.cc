// Cells that users invented: each compiled alone into a library, loaded once, never unloaded.
#include "loaded_cells.h"

#include <dlfcn.h>

#include <atomic>
#include <cstring>
#include <mutex>
#include <stdexcept>

#include "cell_library.h"

namespace holdfast {
namespace {

constexpr int kEach = 64;

// They stay where they are. Looking one up never waits: a frame may take no lock.
struct Chunk {
  PrintedCell cells[kEach];
  std::atomic<Chunk*> next{nullptr};
};

Chunk first;
std::atomic<int> loaded{0};
std::mutex adding;

// The sizes tell what the digest cannot, such as another level.
bool fits(const Kernels& kernels, const CellLibrary& library) {
  const LibrarySizes own = library_sizes(kernels.of_float.lanes * static_cast<int>(sizeof(float)));
  return std::strcmp(library.built_from, cell_digest()) == 0 &&
         std::memcmp(&library.sizes, &own, sizeof own) == 0;
}

}  // namespace

int add_cell(const Kernels& kernels, const PrintedCell& cell) {
  const std::lock_guard<std::mutex> lock(adding);
  const int place = loaded.load();
  Chunk* chunk = &first;
  for (int left = place; left >= kEach; left -= kEach) {
    if (!chunk->next.load()) chunk->next.store(new Chunk);
    chunk = chunk->next.load();
  }
  chunk->cells[place % kEach] = cell;
  loaded.store(place + 1);
  return kernels.cell_count() + place;
}

const PrintedCell* find_cell(const Kernels& kernels, int cell) {
  if (cell < 0) return nullptr;
  for (const CellList* list : kernels.built_in) {
    if (cell < list->count) return list->cells + cell;
    cell -= list->count;
  }
  if (cell >= loaded.load()) return nullptr;
  const Chunk* chunk = &first;
  for (; cell >= kEach; cell -= kEach) chunk = chunk->next.load();
  return chunk->cells + cell;
}

const PrintedCell& printed_cell(const Kernels& kernels, int cell) {
  const PrintedCell* found = find_cell(kernels, cell);
  if (!found) throw std::invalid_argument("there is no cell " + std::to_string(cell));
  return *found;
}

std::vector<int> load_cells(const Kernels& kernels, const std::string& path) {
  if (path.find('/') == std::string::npos) throw std::invalid_argument(path + " must be a path, not a name");
  void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) throw std::runtime_error(dlerror());
  const auto* const own = static_cast<const CellLibrary*>(dlsym(library, "holdfast_cells"));
  if (!own || !fits(kernels, *own)) {
    dlclose(library);
    throw std::invalid_argument(path + (own ? " was compiled for another build of holdfast" : " has no cell"));
  }
  std::vector<int> numbers;
  for (int k = 0; k < own->count; ++k) numbers.push_back(add_cell(kernels, own->cells[k]));
  return numbers;
}

const char* cell_sources() { return HOLDFAST_CELL_SOURCES; }
const char* cell_digest() { return HOLDFAST_CELL_DIGEST; }

}  // namespace holdfast
