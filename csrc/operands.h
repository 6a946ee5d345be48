// What products multiply: numbers of type T as they are, or rounded to bfloat16. Included by the sources of a level
// only.
#pragma once

#include "pack.h"
#include "pack_bf16.h"
#include "product.h"
#include "product_bf16.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {

// E is T or Bfloat16.
template <class E>
struct Operands {
  static constexpr bool kRounded = false;
  static constexpr Index panel_rows(Index n) { return n; }
  static constexpr Index scratch_width(Index) { return 0; }
};

#if defined(__AVX512BF16__)
template <>
struct Operands<Bfloat16> {
  static constexpr bool kRounded = true;
  static constexpr Index panel_rows(Index n) { return in_pairs(n); }
  // Two parts lie one after the other, and whole vectors are written of each.
  static constexpr Index scratch_width(Index n) { return rounded_width(n) + kLanes<float>; }
};
#endif

// Calls work(E{}) for the type that the products of a pass multiply.
template <class T, class Work>
HOLDFAST_INLINE auto with_operands([[maybe_unused]] const Pass<T>& pass, Work work) {
#if defined(__AVX512BF16__)
  if constexpr (sizeof(T) == sizeof(float)) {
    if (pass.bfloat16) return work(Bfloat16{});
  }
#endif
  return work(T{});
}

// Elements of one forward panel.
template <class E>
HOLDFAST_INLINE Index forward_panel_size(const Layout& layout) {
  return (Operands<E>::panel_rows(layout.inputs) + Operands<E>::panel_rows(layout.width)) * layout.columns();
}

template <class E, class T>
void pack_forward(const ForwardPass<T>& pass, int worker) {
  const Layout& layout = pass.layout;
  const Index last = pass.workers.part(layout.blocks(), worker + 1);
  for (Index block = pass.workers.part(layout.blocks(), worker); block < last; ++block) {
    E* panel = reinterpret_cast<E*>(pass.panels) + block * forward_panel_size<E>(layout);
    if (layout.inputs) pack_transposed(layout, pass.weights.input, layout.inputs, block, panel);
    panel += Operands<E>::panel_rows(layout.inputs) * layout.columns();
    pack_transposed(layout, pass.weights.recurrent, layout.width, block, panel);
    pack_biases(pass, block);
  }
  pack_matrices(pass, worker);
}

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
