// The stages of the staged cells as functions of C, for test_staged.py: over vectors of four.
#include HOLDFAST_PRINTED

namespace holdfast {
namespace HOLDFAST_LEVEL {
namespace {

enum Loads { kUpstream, kGate, kBias, kOld, kParameter, kScalar, kMask, kValue, kSlot, kNumber, kSum };
enum Stores { kToValue, kToSlot, kToSum, kToGate, kToInput, kToRecurrent, kToBias, kToOld, kToParameter, kToTap };
constexpr int kMostPlaces = 64;

// Four units of arrays [array][place][unit], of masks -1 or 0.
struct At {
  const void* const* loads;
  void* const* stores;
  long unit;

  template <class V>
  V get(Loads array, int place) const {
    return *reinterpret_cast<const V*>(static_cast<const double*>(loads[array * kMostPlaces + place]) + unit);
  }
  void put(Stores array, int place, const Four& value) const {
    *reinterpret_cast<Four*>(static_cast<double*>(stores[array * kMostPlaces + place]) + unit) = value;
  }
  Four upstream(int k) const { return get<Four>(kUpstream, k); }
  Four gate(int k) const { return get<Four>(kGate, k); }
  Four bias(int k) const { return get<Four>(kBias, k); }
  Four old(int k) const { return get<Four>(kOld, k); }
  Four parameter(int k) const { return get<Four>(kParameter, k); }
  Four scalar(int k) const { return get<Four>(kScalar, k); }
  FourMasks mask(int k) const { return get<FourMasks>(kMask, k); }
  Four value(int k) const { return get<Four>(kValue, k); }
  Four slot(int k) const { return get<Four>(kSlot, k); }
  Four number(int k) const { return get<Four>(kNumber, k); }
  Four sum(int k) const { return get<Four>(kSum, k); }
  void set_value(int k, const Four& value) const { put(kToValue, k, value); }
  void set_slot(int k, const Four& value) const { put(kToSlot, k, value); }
  void add(int k, const Four& value) const { put(kToSum, k, value); }
  void set_gate(int k, const Four& value) const { put(kToGate, k, value); }
  void set_input(int k, const Four& value) const { put(kToInput, k, value); }
  void set_recurrent(int k, const Four& value) const { put(kToRecurrent, k, value); }
  void set_bias(int k, const Four& value) const { put(kToBias, k, value); }
  void set_old(int k, const Four& value) const { put(kToOld, k, value); }
  void set_parameter(int k, const Four& value) const { put(kToParameter, k, value); }
  void set_tap(int k, const Four& value) const { put(kToTap, k, value); }
};

template <class Cell, int STAGE = 0>
void forward_stage(int stage, const At& at) {
  if constexpr (STAGE < Cell::kForwardStages) {
    if (stage == STAGE) return Cell::template forward<STAGE, Four>(at);
    forward_stage<Cell, STAGE + 1>(stage, at);
  }
}

template <class Cell, int STAGE = 0>
void backward_stage(int stage, const At& at) {
  if constexpr (STAGE < Cell::kBackwardStages) {
    if (stage == STAGE) return Cell::template backward<STAGE, Four>(at);
    backward_stage<Cell, STAGE + 1>(stage, at);
  }
}

// The cuts as numbers: after, kind, target, how many arrays and each one's kind and place, twice.
void describe_cuts(const Cut* cuts, int count, int*& numbers) {
  *numbers++ = count;
  for (int n = 0; n < count; ++n) {
    const Cut& cut = cuts[n];
    *numbers++ = cut.after;
    *numbers++ = static_cast<int>(cut.kind);
    *numbers++ = cut.target;
    *numbers++ = cut.in_count;
    for (int k = 0; k < cut.in_count; ++k) {
      *numbers++ = static_cast<int>(cut.in[k].kind);
      *numbers++ = cut.in[k].index;
    }
    *numbers++ = cut.out_count;
    for (int k = 0; k < cut.out_count; ++k) {
      *numbers++ = static_cast<int>(cut.out[k].kind);
      *numbers++ = cut.out[k].index;
    }
  }
}

template <class Cell>
void describe(int* numbers) {
  const int found[] = {
      Cell::kStaged, Cell::kSplit, Cell::kGates, Cell::kStates, Cell::kValues, Cell::kParameters, Cell::kScalars,
      Cell::kMasks, Cell::kMatrices, Cell::kNumbers, Cell::kSums, Cell::kForwardSlots, Cell::kBackwardSlots,
      static_cast<int>(Cell::kNarrowValues), static_cast<int>(Cell::kNarrowForwardSlots),
      static_cast<int>(Cell::kNarrowBackwardSlots), static_cast<int>(Cell::kNarrowMasks), Cell::kForwardStages,
      Cell::kBackwardStages,
  };
  for (int number : found) *numbers++ = number;
  for (int k = 0; k < Cell::kStates; ++k) *numbers++ = Cell::kStateValues[k];
  for (bool narrow : Cell::kForwardNarrow) *numbers++ = narrow;
  for (bool narrow : Cell::kBackwardNarrow) *numbers++ = narrow;
  describe_cuts(Cell::kForwardCuts, Cell::kForwardCutCount, numbers);
  describe_cuts(Cell::kBackwardCuts, Cell::kBackwardCutCount, numbers);
}

}  // namespace
}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast

using namespace holdfast::HOLDFAST_LEVEL;

extern "C" {

__attribute__((visibility("default"))) void run_stage(int cell, bool backward, int stage, long units,
                                                      const void* const* loads, void* const* stores) {
  for (long unit = 0; unit < units; unit += 4) {
    const At at = {loads, stores, unit};
#define HOLDFAST_RUN(index, name) \
  if (cell == index) backward ? backward_stage<name>(stage, at) : forward_stage<name>(stage, at);
    HOLDFAST_PRINTED_CELLS(HOLDFAST_RUN)
#undef HOLDFAST_RUN
  }
}

__attribute__((visibility("default"))) void describe_cell(int cell, int* numbers) {
#define HOLDFAST_DESCRIBE(index, name) \
  if (cell == index) describe<name>(numbers);
  HOLDFAST_PRINTED_CELLS(HOLDFAST_DESCRIBE)
#undef HOLDFAST_DESCRIBE
}

}  // extern "C"
