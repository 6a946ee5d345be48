// Weights in float32 packed into panels in bfloat16, see product_bf16.h. Included by the sources of a level only.
#pragma once

#include "pack.h"
#include "product_bf16.h"

#if defined(__AVX512BF16__)

namespace holdfast {
namespace HOLDFAST_LEVEL {

// One matrix [G*H, width] into rows of the panel of a block: panel[k / 2][column][k % 2] = matrix[row][k].
inline void pack_transposed(const Layout& layout, const float* matrix, Index width, Index block, Bfloat16* panel) {
  constexpr Index kPairs = kLanes<float> / 2;
  const Index columns = layout.columns();
  if ((block + 1) * layout.units() > layout.hidden) {
    __builtin_memset(panel, 0, static_cast<std::size_t>(in_pairs(width) * columns) * sizeof(Bfloat16));
  }
  for (Index k = 0; k < width; k += kLanes<float>) {
    const Index pairs = width - k < kLanes<float> ? in_pairs(width - k) / 2 : kPairs;
    for_each_gate(layout, block, [&](Index column, Index row) {
      Bfloat16 rounded[kLanes<float>];
      const Index rest = width - k;
      round_row(matrix + row * width + k, rest < kLanes<float> ? rest : kLanes<float>, rounded);
      Bfloat16* to = panel + k * columns + 2 * column;
      for (Index pair = 0; pair < pairs; ++pair, to += 2 * columns) {
        __builtin_memcpy(to, rounded + 2 * pair, 2 * sizeof(Bfloat16));
      }
    });
  }
}

// One matrix into the panels that lead back to its columns, as in float32, but with pairs of rows.
inline void pack_backward(const Layout& layout, const Workers& workers, int worker, const float* matrix, Index width,
                          Bfloat16* panels) {
  const Index rows = layout.gate_columns(), most = layout.backward_columns(), units = layout.units();
  const Index first = workers.part(layout.blocks(), worker), last = workers.part(layout.blocks(), worker + 1);
  for (Index panel = 0; panel < layout.backward_panels(width); ++panel) {
    const Index columns = Index{layout.backward_vectors(width, panel)} * layout.lanes;
    const Index present = width - panel * most < columns ? width - panel * most : columns;
    for (Index block = first; block < last; ++block) {
      Bfloat16* to = panels + panel * rows * most + block * layout.columns() * columns;
      for (Index column = 0; column < layout.columns(); column += 2, to += 2 * columns) {
        const Index gate = column / units, unit = block * units + column % units, left = layout.hidden - unit;
        const float* from = left > 0 ? matrix + (gate * layout.hidden + unit) * width + panel * most : nullptr;
        pair_rows(from, left > 1 ? from + width : nullptr, present, to);
      }
    }
  }
}

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast

#endif
