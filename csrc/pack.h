// Weights packed into panels, and tiles of gradients taken apart. Included by the sources of a level only.
#pragma once

#include "direction.h"
#include "transpose.h"
#include "vec.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {

// Calls work(column, row) for each column of the panel of a block that belongs to a unit: `row` is its place among the
// G*H rows of the weights.
template <class Work>
HOLDFAST_INLINE void for_each_gate(const Layout& layout, Index block, Work work) {
  const Index units = layout.units(), left = layout.hidden - block * units, present = left < units ? left : units;
  for (Index gate = 0; gate < layout.gates; ++gate) {
    for (Index u = 0; u < present; ++u) work(gate * units + u, gate * layout.hidden + block * units + u);
  }
}

// One matrix [G*H, width] into rows of the panel of a block: panel[k][column] = matrix[row][k].
template <class T>
void pack_transposed(const Layout& layout, const T* matrix, Index width, Index block, T* panel) {
  const Index columns = layout.columns();
  if ((block + 1) * layout.units() > layout.hidden) {
    __builtin_memset(panel, 0, static_cast<std::size_t>(width * columns) * sizeof(T));
  }
  const Index units = layout.units(), left = layout.hidden - block * units, present = left < units ? left : units;
  for (Index gate = 0; gate < layout.gates; ++gate) {
    const T* from = matrix + (gate * layout.hidden + block * units) * width;
    transpose(from, width, present, width, panel + gate * units, columns);
  }
}

template <class T>
void pack_biases(const ForwardPass<T>& pass, Index block) {
  const Layout& layout = pass.layout;
  T* biases = pass.biases + block * layout.columns();
  for (Index column = 0; column < layout.columns(); ++column) biases[column] = 0;
  if (!pass.weights.bias_ih) return;
  for_each_gate(layout, block, [&](Index column, Index row) {
    biases[column] = pass.weights.bias_ih[row] + pass.weights.bias_hh[row];
  });
}

// The cell's own matrices; in their own type always.
template <class T>
void pack_matrices(const ForwardPass<T>& pass, int worker) {
  for (int m = 0; m < pass.shape->matrices; ++m) {
    const MatrixLayout& own = pass.matrices[m];
    const Index end = pass.workers.part(own.layout.blocks(), worker + 1);
    for (Index block = pass.workers.part(own.layout.blocks(), worker); block < end; ++block) {
      T* panel = pass.matrix_panels[m] + block * own.layout.forward_panel();
      pack_transposed(own.layout, pass.weights.matrices[m], own.columns, block, panel);
    }
  }
}

// A matrix [rows, columns] of a cell's own into panels of its columns, for what leads back to them.
template <class T>
void pack_plain(const Workers& workers, int worker, const MatrixLayout& own, const T* matrix, T* panels) {
  const Index most = own.layout.columns(), count = ceil_div(own.columns, most);
  for (Index panel = workers.part(count, worker); panel < workers.part(count, worker + 1); ++panel) {
    const Index present = own.columns - panel * most < most ? own.columns - panel * most : most;
    for (Index row = 0; row < own.rows; ++row) {
      T* to = panels + (panel * own.rows + row) * most;
      if (present < most) __builtin_memset(to, 0, static_cast<std::size_t>(most) * sizeof(T));
      __builtin_memcpy(to, matrix + row * own.columns + panel * most, static_cast<std::size_t>(present) * sizeof(T));
    }
  }
}

// One matrix [G*H, width] into the panels that lead back to its columns: rows in the order of a chunk's gates.
template <class T>
void pack_backward(const Layout& layout, const Workers& workers, int worker, const T* matrix, Index width, T* panels) {
  const Index rows = layout.gate_columns(), most = layout.backward_columns();
  const Index first = workers.part(layout.blocks(), worker), last = workers.part(layout.blocks(), worker + 1);
  for (Index panel = 0; panel < layout.backward_panels(width); ++panel) {
    const Index columns = Index{layout.backward_vectors(width, panel)} * layout.lanes;
    const Index present = width - panel * most < columns ? width - panel * most : columns;
    for (Index block = first; block < last; ++block) {
      T* to = panels + panel * rows * most + block * layout.columns() * columns;
      if ((block + 1) * layout.units() > layout.hidden || present < columns) {
        __builtin_memset(to, 0, static_cast<std::size_t>(layout.columns() * columns) * sizeof(T));
      }
      for_each_gate(layout, block, [&](Index column, Index row) {
        const T* from = matrix + row * width + panel * most;
        __builtin_memcpy(to + column * columns, from, static_cast<std::size_t>(present) * sizeof(T));
      });
    }
  }
}

// The tiles of a block's gradients of one matrix into the rows of the matrix [G*H, width]: tile [group, kMostTileRows,
// columns], so that tile[k / kMostTileRows][k % kMostTileRows][column] belongs to its column k.
template <class T>
void unpack_tiles(const Layout& layout, const T* tiles, Index width, Index block, T* matrix, bool add = false) {
  const Index units = layout.units(), left = layout.hidden - block * units, present = left < units ? left : units;
  for (Index gate = 0; gate < layout.gates; ++gate) {
    T* to = matrix + (gate * layout.hidden + block * units) * width;
    transpose(tiles + gate * units, layout.columns(), width, present, to, width, add);
  }
}

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
