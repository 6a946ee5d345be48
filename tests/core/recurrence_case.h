// A case that the passes of the core are tried on: its sizes, what there is besides them, and what the passes write.
#pragma once

#include <string>
#include <vector>

#include "recurrence.h"

using holdfast::Index;

// What a case has besides its sizes. The cell is lstm, unless one of the last ones says otherwise.
enum Choice : unsigned {
  kPeephole = 1 << 0,
  kFull = 1 << 1,  // the variant of the cell with all modifiers, which do nothing but for kMasks, kShares and kClip
  kLengths = 1 << 2,
  kReset = 1 << 3,
  kStarts = 1 << 4,
  kInitial = 1 << 5,
  kBiases = 1 << 6,
  kBatchFirst = 1 << 7,
  kMasks = 1 << 8,      // drawn ones: g is dropped, c and h are kept
  kShares = 1 << 9,     // c and h keep a share of their old values
  kEntering = 1 << 10,  // the h that enters weight_hh is dropped
  kFactors = 1 << 11,   // so is what one layer passes on to the next
  kResidual = 1 << 12,
  kQuiet = 1 << 13,     // nothing reaches the output, nor the states before the last one
  kClip = 1 << 14,      // c is held within limits
  kEverything = (1 << 15) - 1,
  kIndices = 1 << 15,   // x is an index at each step; with kEntries several of them, without factors
  kEntries = 1 << 16,   // x is several indices at a step, or none, with factors
  kNothing = 1 << 17,   // with kEntries: at no step is there any
  kLayernorm = 1 << 18,
  kGateRecurrence = 1 << 19,
  kMoreGates = 1 << 20  // more_gates of own_cells.cc, which has no modifiers
};
constexpr const char* kChoices[] = {
    "peephole", "full",    "lengths",  "reset", "starts", "initial", "biases",
    "batch_first", "masks", "shares", "entering", "factors", "residual", "quiet",
    "clip", "indices", "entries", "nothing", "layernorm", "gate_recurrence", "more_gates"};

// How the workers of a call are to split it, as far as the case is about that.
enum Split { kAnySplit, kOwnRows, kSharedRows };

constexpr Index kEveryNumber = -1;

struct Case {
  Index steps, batch, inputs, hidden;
  int layers, directions;
  unsigned choices;
  Split split = kAnySplit;
  Index projected = 0;
  Index recompute = 0;  // every how many steps states are kept in another run; kEveryNumber: 1 to T + 1, run by run
  int most_threads = 3;

  bool has(unsigned choice) const { return choices & choice; }
  bool full() const { return has(kFull | kMasks | kShares | kClip); }
  bool tapped() const { return full() || (projected && !has(kMoreGates)); }
  bool sparse() const { return has(kIndices | kEntries); }
  int places() const { return layers * directions; }
  Index own_width() const { return projected ? projected : hidden; }
  Index width() const { return directions * own_width(); }
  Index width_of(int layer) const { return layer > 0 ? width() : inputs; }
  int gates() const { return has(kMoreGates) ? 7 : 4; }
  int states() const { return has(kGateRecurrence) ? 5 : 2; }
  Index state_width(int s) const { return s == 0 ? own_width() : hidden; }
  int parameters() const { return has(kLayernorm) ? 10 : has(kPeephole | kGateRecurrence) ? 3 : 0; }
  // Of each layer and direction, the one of gates before that of the projection.
  Index gate_matrix() const { return has(kGateRecurrence) ? 9 * hidden * hidden : 0; }
  Index projection() const { return projected * hidden; }
};

inline std::string name(const Case& c) {
  std::string text = "lstm";
  const auto add = [&](const char* key, Index value) { text += std::string(" ") + key + std::to_string(value); };
  add("T", c.steps), add("B", c.batch), add("I", c.inputs), add("H", c.hidden), add("L", c.layers);
  add("D", c.directions), add("P", c.projected), add("recompute", c.recompute);
  for (int k = 0; c.choices >> k; ++k) text += c.choices >> k & 1 ? std::string(" ") + kChoices[k] : "";
  return text;
}

// In the order of the printed cells' own.
enum Gates { kI, kF, kG, kO, kU, kV, kW, kMostCaseGates };
enum States { kH, kC, kStateI, kStateF, kStateO, kMostCaseStates };
enum Peepholes { kPeepholeI, kPeepholeF, kPeepholeO };
enum LayernormParameters { kAlpha = 0, kBeta = 4, kGammaC = 8, kBiasC, kMostCaseParameters };
enum Masks { kDropG, kKeepC, kKeepH };
enum Scalars { kLimitC, kScaleG, kZoneoutC, kZoneoutH, kZonedC, kScalars };

// Everything that a pass writes; those of all layers and directions one after another.
enum Part {
  kOutput,
  kLast,  // states
  kX = kLast + kMostCaseStates,
  kInput,  // from here on gradients of weights
  kRecurrent,
  kBias,
  kGateMatrix,
  kProjection,
  kParameter,
  kFirst = kParameter + kMostCaseParameters,  // states
  kStart = kFirst + kMostCaseStates,
  kGate = kStart + kMostCaseStates,
  kAt = kGate + kMostCaseGates,
  kParts = kAt + 2
};

inline bool is_of_weights(int part) { return part >= kInput && part < kFirst; }

inline bool is_written(const Case& c, int part) {
  if (part >= kAt) return c.tapped();
  if (part >= kGate) return part < kGate + c.gates();
  if (part >= kStart) return part < kStart + c.states();
  if (part >= kFirst) return part < kFirst + c.states();
  if (part >= kParameter) return part < kParameter + c.parameters();
  switch (part) {
    case kProjection: return c.projected > 0;
    case kGateMatrix: return c.has(kGateRecurrence);
    case kBias: return c.has(kBiases);
    case kX: return !c.sparse();
    default: return part < kLast || part >= kX || part < kLast + c.states();
  }
}

inline std::string name_of(int part) {
  const auto numbered = [&](const char* what, int first) { return what + std::to_string(part - first); };
  if (part >= kAt) return numbered("d of state at each step ", kAt);
  if (part >= kGate) return numbered("d of gate ", kGate);
  if (part >= kStart) return numbered("d of start ", kStart);
  if (part >= kFirst) return numbered("d of first state ", kFirst);
  if (part >= kParameter) return numbered("d of parameter ", kParameter);
  constexpr const char* kNames[] = {"d of x", "d of weight_ih", "d of weight_hh", "d of bias", "d of weight_gates",
                                    "d of weight_hr"};
  if (part >= kX) return kNames[part - kX];
  return part >= kLast ? numbered("state ", kLast) : "output";
}

inline Index size_of(const Case& c, int part) {
  if (!is_written(c, part)) return 0;
  const Index places = c.places(), rows = places * c.gates() * c.hidden;
  const auto state = [&](int first) { return places * c.state_width(part - first); };
  if (part >= kAt) return c.steps * c.batch * state(kAt);
  if (part >= kGate) return c.steps * c.batch * places * c.hidden;
  if (part >= kStart) return state(kStart);
  if (part >= kFirst) return c.batch * state(kFirst);
  if (part >= kParameter) return places * c.hidden;
  switch (part) {
    case kOutput: return c.steps * c.batch * c.width();
    case kX: return c.steps * c.batch * c.inputs;
    case kInput: return c.directions * c.gates() * c.hidden * (c.inputs + (c.layers - 1) * c.width());
    case kRecurrent: return rows * c.own_width();
    case kBias: return rows;
    case kGateMatrix: return places * c.gate_matrix();
    case kProjection: return places * c.projection();
    default: return c.batch * state(kLast);
  }
}

// Where the gradient of weight_ih of a place begins.
inline Index input_begin(const Case& c, int place) {
  Index begin = 0;
  for (int before = 0; before < place; ++before) begin += c.gates() * c.hidden * c.width_of(before / c.directions);
  return begin;
}

template <class T>
struct Results {
  std::vector<T> parts[kParts];
};
