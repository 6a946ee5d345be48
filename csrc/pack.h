// Weights packed into panels, and tiles of gradients taken apart. Included by the sources of a level only.
#pragma once

#include "direction.h"
#include "vec.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {

// Where column `column` of a panel of gates comes from: its gate and, of all units, its unit.
struct GateColumn {
  Index gate, unit;
};

HOLDFAST_INLINE GateColumn gate_column(const Layout& layout, Index block, Index column) {
  const Index gate = column / layout.units();
  return {gate, block * layout.units() + column % layout.units()};
}

// Columns first to first + kMostTileColumns of some rows of weights go to rows of a panel: small squares, so that
// reading and writing both stay within a few cache lines.
constexpr Index kSquare = 16;

// One matrix [G*H, width] into rows of the panel of a block: panel[k][column] = matrix[row of column][k].
template <class T>
void pack_transposed(const Layout& layout, const T* matrix, Index width, Index block, T* panel) {
  const Index columns = layout.columns();
  for (Index k0 = 0; k0 < width; k0 += kSquare) {
    const Index k1 = k0 + kSquare < width ? k0 + kSquare : width;
    for (Index column = 0; column < columns; ++column) {
      const GateColumn from = gate_column(layout, block, column);
      if (from.unit >= layout.hidden) {
        for (Index k = k0; k < k1; ++k) panel[k * columns + column] = 0;
        continue;
      }
      const T* row = matrix + (from.gate * layout.hidden + from.unit) * width;
      for (Index k = k0; k < k1; ++k) panel[k * columns + column] = row[k];
    }
  }
}

template <class T>
void pack_forward(const ForwardPass<T>& pass, int worker) {
  const Layout& layout = pass.layout;
  const Index last = pass.workers.part(layout.blocks(), worker + 1);
  for (Index block = pass.workers.part(layout.blocks(), worker); block < last; ++block) {
    T* panel = pass.panels + block * layout.forward_panel();
    pack_transposed(layout, pass.weights.input, layout.inputs, block, panel);
    pack_transposed(layout, pass.weights.recurrent, layout.hidden, block, panel + layout.inputs * layout.columns());
    for (Index column = 0; column < layout.columns(); ++column) {
      const GateColumn from = gate_column(layout, block, column);
      const bool biased = pass.weights.bias_ih && from.unit < layout.hidden;
      const Index row = from.gate * layout.hidden + from.unit;
      pass.biases[block * layout.columns() + column] =
          biased ? pass.weights.bias_ih[row] + pass.weights.bias_hh[row] : 0;
    }
  }
}

// One matrix [G*H, width] into the panels that lead back to its columns: rows in the order of a chunk's gates.
template <class T>
void pack_backward(const Layout& layout, const Workers& workers, int worker, const T* matrix, Index width, T* panels) {
  const Index rows = layout.gate_columns(), most = layout.backward_columns();
  const Index first = workers.part(rows, worker), last = workers.part(rows, worker + 1);
  for (Index panel = 0; panel < layout.backward_panels(width); ++panel) {
    const Index columns = Index{layout.backward_vectors(width, panel)} * layout.lanes;
    const Index present = width - panel * most < columns ? width - panel * most : columns;
    T* to = panels + panel * rows * most + first * columns;
    for (Index row = first; row < last; ++row, to += columns) {
      const GateColumn from = gate_column(layout, row / layout.columns(), row % layout.columns());
      const bool there = from.unit < layout.hidden;
      if (there) {
        const T* weights = matrix + (from.gate * layout.hidden + from.unit) * width + panel * most;
        __builtin_memcpy(to, weights, static_cast<std::size_t>(present) * sizeof(T));
      }
      for (Index k = there ? present : 0; k < columns; ++k) to[k] = 0;
    }
  }
}

// The tiles of a block's gradients of one matrix into the rows of the matrix [G*H, width]: tile [group, kMostTileRows,
// columns], so that tile[k / kMostTileRows][k % kMostTileRows][column] belongs to its column k.
template <class T>
void unpack_tiles(const Layout& layout, const T* tiles, Index width, Index block, T* matrix) {
  const Index columns = layout.columns();
  for (Index k0 = 0; k0 < width; k0 += kSquare) {
    const Index k1 = k0 + kSquare < width ? k0 + kSquare : width;
    for (Index column = 0; column < columns; ++column) {
      const GateColumn from = gate_column(layout, block, column);
      if (from.unit >= layout.hidden) continue;
      T* row = matrix + (from.gate * layout.hidden + from.unit) * width;
      for (Index k = k0; k < k1; ++k) row[k] = tiles[k * columns + column];
    }
  }
}

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
