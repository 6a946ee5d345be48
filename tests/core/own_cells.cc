// A cell of more gates than a register tile has vectors, written by hand and compiled for a level as a user's own cell
// is: lstm with u v w, where u lets v into c, and w adds to h. Fused; and staged with a projection, which is that of the
// old c too, as a product of its own.
#include "cell_table.h"
#include "cells_support.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {
namespace {

// Gates i f g o u v w; states h c; values those of the gates, c and h.
struct more_gates {
  static constexpr int kGates = 7;
  static constexpr int kStates = 2;
  static constexpr int kValues = 9;
  static constexpr int kParameters = 0;
  static constexpr int kScalars = 0;
  static constexpr int kMasks = 0;
  static constexpr int kStateValues[kMostStates] = {8, 7};
  static constexpr unsigned kForwardReadsOld = 0b10;
  static constexpr unsigned kForwardReadsMask = 0;
  static constexpr unsigned kBackwardReadsValue = 0b11111111;
  static constexpr unsigned kBackwardReadsOld = 0b10;
  static constexpr unsigned kBackwardReadsMask = 0;

  static constexpr int kSigmoids[] = {0, 1, 3, 4, 6}, kTanhs[] = {2, 5};

  // Leaves what h is before it is projected.
  template <class V>
  [[gnu::always_inline]] static inline void activate(const V* z, V c_prev, V* value) {
    for (int g : kSigmoids) value[g] = sigmoid(z[g]);
    for (int g : kTanhs) value[g] = tanh(z[g]);
    value[7] = value[1] * c_prev + value[0] * value[2] + value[4] * value[5];
    value[8] = value[3] * tanh(value[7]) + value[6];
  }

  // `given`: as `activate` leaves it.
  template <class V>
  [[gnu::always_inline]] static inline void back(V d_given, V d_c, const V* value, V c_prev, V* d_z, V& d_c_prev) {
    const V one = number<V>(1), tanh_c = tanh(value[7]);
    const V d = d_c + d_given * value[3] * (one - tanh_c * tanh_c);
    d_z[0] = d * value[2];
    d_z[1] = d * c_prev;
    d_z[2] = d * value[0];
    d_z[3] = d_given * tanh_c;
    d_z[4] = d * value[5];
    d_z[5] = d * value[4];
    d_z[6] = d_given;
    for (int g : kSigmoids) d_z[g] *= value[g] * (one - value[g]);
    for (int g : kTanhs) d_z[g] *= one - value[g] * value[g];
    d_c_prev = d * value[1];
  }

  template <class V, class M>
  [[gnu::always_inline]] static inline void forward(const V* z, const V* old, const V*, const V*, const M*, V* value) {
    activate(z, old[1], value);
  }

  template <class V, class M>
  [[gnu::always_inline]] static inline void backward(const V* d_state, const V* value, const V* old, const V*,
                                                     const V*, const M*, V* d_z, V* d_old, V*, V*) {
    d_old[0] = V{};
    back(d_state[0], d_state[1], value, old[1], d_z, d_old[1]);
  }
};

struct more_gates_projected : more_gates {
  static constexpr bool kSplit = false;
  static constexpr int kMatrices = 1;
  static constexpr int kNumbers = 0;
  static constexpr int kSums = 0;
  static constexpr int kForwardSlots = 3;
  static constexpr int kBackwardSlots = 2;
  static constexpr int kForwardStages = 2;
  static constexpr int kBackwardStages = 2;
  static constexpr unsigned kNarrowValues = 1 << 8;
  static constexpr unsigned kNarrowForwardSlots = 0b110;
  static constexpr unsigned kNarrowBackwardSlots = 0b1;
  static constexpr unsigned kNarrowMasks = 0;
  static constexpr bool kForwardNarrow[] = {false, true};
  static constexpr int kForwardCutCount = 2;
  static constexpr Cut kForwardCuts[] = {
      {-1, CutKind::kProduct, 0, 1, {{ArrayKind::kOld, 1}}, 1, {{ArrayKind::kSlot, 2}}},
      {0, CutKind::kProduct, 0, 1, {{ArrayKind::kSlot, 0}}, 1, {{ArrayKind::kSlot, 1}}},
  };
  static constexpr bool kBackwardNarrow[] = {true, false};
  static constexpr int kBackwardCutCount = 3;
  static constexpr Cut kBackwardCuts[] = {
      {0, CutKind::kProductBack, 0, 1, {{ArrayKind::kSlot, 0}}, 1, {{ArrayKind::kSlot, 1}}},
      {0, CutKind::kOuter, 0, 1, {{ArrayKind::kSlot, 0}}, 1, {{ArrayKind::kOld, 1}}},
      {1, CutKind::kOuter, 0, 1, {{ArrayKind::kSlot, 0}}, 1, {{ArrayKind::kSlot, 1}}},
  };

  template <int STAGE, class V, class At>
  [[gnu::always_inline]] static inline void forward(const At& at) {
    if constexpr (STAGE == 0) {
      V z[kGates], value[kValues];
      for (int g = 0; g < kGates; ++g) z[g] = at.gate(g);
      activate(z, at.old(1), value);
      for (int k = 0; k < 8; ++k) at.set_value(k, value[k]);
      at.set_slot(0, value[8]);
    }
    if constexpr (STAGE == 1) at.set_value(8, at.slot(1) + at.slot(2));
  }

  template <int STAGE, class V, class At>
  [[gnu::always_inline]] static inline void backward(const At& at) {
    if constexpr (STAGE == 0) {
      at.set_slot(0, at.upstream(0));
      at.set_old(0, V{});
    }
    if constexpr (STAGE == 1) {
      V value[kValues], d_z[kGates], d_c_prev;
      for (int k = 0; k < 8; ++k) value[k] = at.value(k);
      back(at.slot(1), at.upstream(1), value, at.old(1), d_z, d_c_prev);
      for (int g = 0; g < kGates; ++g) at.set_gate(g, d_z[g]);
      at.set_old(1, d_c_prev + at.slot(1));
      at.set_slot(1, value[3] * tanh(value[7]) + value[6]);
    }
  }
};

}  // namespace

extern const PrintedCell own_cells[2];
const PrintedCell own_cells[2] = {HOLDFAST_FUSED_CELL(0, more_gates) HOLDFAST_STAGED_CELL(1, more_gates_projected)};

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
