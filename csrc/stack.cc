#include "stack.h"

#include <algorithm>
#include <numeric>

namespace holdfast {

namespace {

const DirectionKernels<float>& of_type(const Kernels& kernels, float) { return kernels.of_float; }
const DirectionKernels<double>& of_type(const Kernels& kernels, double) { return kernels.of_double; }

// All of these were fitted on two cores of an AMD EPYC with AVX-512.
// Multiplications below which waking another thread costs more than it saves, and those of a step below which waiting
// for each other does.
constexpr double kWorthWaking = 1e6, kWorthWaiting = 3e4;
// Rows for which a thread reads all the weights rather than wait for the others at each step.
constexpr Index kRowsOfOwn = 8;
// The same where the weights are larger than this, which no cache near the threads holds.
constexpr Index kRowsOfOwnFarAway = 32;
constexpr double kFarAwayBytes = 32e6;
// Below so many rows of a worker at a step the products with x of several steps are made at once, for about
// kAheadRows rows: a panel is then read for more rows.
constexpr Index kFewRows = 24, kAheadRows = 96;

template <class T>
double step_work(const Inputs<T>& inputs, int gates) {
  const Sizes& sizes = inputs.sizes;
  const Index inputs_read = inputs.sparse.columns ? 0 : sizes.inputs;
  const double columns = static_cast<double>(std::max(inputs_read, sizes.width()) + sizes.width());
  return static_cast<double>(sizes.batch) * gates * static_cast<double>(sizes.hidden) * columns;
}

// More threads than processors would only wait for each other.
template <class T>
int worthwhile_threads(const Inputs<T>& inputs, int gates) {
  const int threads = inputs.threads > 1 ? std::min(inputs.threads, processors()) : 1;
  const double step = step_work(inputs, gates);
  if (step * static_cast<double>(inputs.sizes.steps) < kWorthWaking) return 1;
  if (inputs.sizes.batch < threads * kRowsOfOwn && step < kWorthWaiting) {
    return static_cast<int>(std::max<Index>(1, std::min<Index>(threads, inputs.sizes.batch / kRowsOfOwn)));
  }
  return threads;
}

}  // namespace

template <class T>
Call<T>::Call(const Kernels& kernels_, const Inputs<T>& inputs_)
    : inputs(inputs_),
      kernels(of_type(kernels_, T{})),
      cell(printed_cell(kernels_, inputs_.cell)),
      shape(cell.shape),
      team(worthwhile_threads(inputs_, shape.gates), inputs_.threads) {
  const Index widest = std::max(inputs.sizes.hidden, inputs.sizes.width());
  zeros = memory.take_zeros<T>(round_up(widest, kMostVectors * kernels.lanes) + kernels.lanes);
  set_schedule();
  set_workers();
}

template <class T>
void Call<T>::set_schedule() {
  const Index steps = inputs.sizes.steps, batch = inputs.sizes.batch;
  schedule.steps = steps;
  schedule.batch = batch;
  // A copy: whoever else has the array may change it meanwhile.
  auto* lengths = memory.take<std::int64_t>(inputs.lengths ? batch : 0);
  if (inputs.lengths) std::copy(inputs.lengths, inputs.lengths + batch, lengths);
  const bool ragged =
      inputs.lengths && std::any_of(lengths, lengths + batch, [&](std::int64_t own) { return own < steps; });
  if (ragged) {
    schedule.lengths = lengths;
    for (Index b = 0; b < batch; ++b) rows += schedule.lengths[b];
  } else {
    rows = steps * batch;
  }
  auto* list = memory.take<std::int32_t>(ragged ? rows : batch);
  auto* first = memory.take<Index>(steps + 1);
  Index n = 0;
  for (Index t = 0; t < (ragged ? steps : 1); ++t) {
    for (Index b = 0; b < batch; ++b) {
      if (!ragged || t < schedule.lengths[b]) list[n++] = static_cast<std::int32_t>(b);
    }
    if (ragged) first[t + 1] = n;
  }
  first[0] = 0;
  schedule.rows = list;
  schedule.first = first;
  for (Index t = 0; t < steps; ++t) most_rows = std::max(most_rows, schedule.count(t));
  if (!inputs.reset) return;
  auto* begins = memory.take<bool>(steps * batch);
  auto* began = memory.take<std::int32_t>(steps * batch);
  for (Index t = 0; t < steps; ++t) {
    for (Index b = 0; b < batch; ++b) {
      const Index at = t * batch + b;
      begins[at] = inputs.reset[at] && t < schedule.length(b);
      began[at] = begins[at] ? static_cast<std::int32_t>(t) : t > 0 ? began[at - batch] : 0;
    }
  }
  schedule.begins = begins;
  schedule.began = began;
}

template <class T>
void Call<T>::set_workers() {
  workers.count = team.size();
  workers.team = &team;
  workers.barrier = [](void* own) { static_cast<Team*>(own)->barrier(); };
  const double bytes = step_work(inputs, shape.gates) / std::max<double>(1, static_cast<double>(inputs.sizes.batch)) *
                       sizeof(T);
  const Index least = bytes > kFarAwayBytes ? kRowsOfOwnFarAway : kRowsOfOwn;
  const Layout layout{0, 0, inputs.sizes.hidden, shape.gates, kernels.lanes, group_of(shape.gates)};
  workers.share_rows =
      workers.count > 1 && inputs.sizes.batch < workers.count * least && layout.blocks() >= workers.count;
  deal_rows();
}

template <class T>
void Call<T>::deal_rows() {
  const Index batch = inputs.sizes.batch;
  auto* owners = memory.take<std::int32_t>(batch);
  auto* places = memory.take<std::int32_t>(batch);
  const int count = workers.share_rows ? 1 : workers.count;
  if (schedule.lengths) {
    deal_by_length(owners, count);
  } else {
    for (int worker = 0; worker < count; ++worker) {
      std::fill(owners + batch * worker / count, owners + batch * (worker + 1) / count, worker);
    }
  }
  std::vector<std::int32_t> dealt(static_cast<std::size_t>(count));
  for (Index b = 0; b < batch; ++b) places[b] = dealt[static_cast<std::size_t>(owners[b])]++;
  workers.owners = owners;
  workers.places = places;
  workers.most_rows = *std::max_element(dealt.begin(), dealt.end());
}

// From the longest row to the shortest, each to the worker with the fewest steps so far: so all have about as many rows
// at each step, too, however uneven the lengths are. Which worker has a row changes no bits.
template <class T>
void Call<T>::deal_by_length(std::int32_t* owners, int count) const {
  std::vector<std::int32_t> order(static_cast<std::size_t>(inputs.sizes.batch));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t one, std::int32_t other) {
    return schedule.length(one) > schedule.length(other);
  });
  std::vector<Index> steps(static_cast<std::size_t>(count));
  for (const std::int32_t b : order) {
    const auto least = std::min_element(steps.begin(), steps.end());
    owners[b] = static_cast<std::int32_t>(least - steps.begin());
    *least += schedule.length(b);
  }
}

template <class T>
void Call<T>::set_up(Pass<T>& pass, int layer, int direction) {
  const Sizes& sizes = inputs.sizes;
  const Index place = Index{layer} * sizes.directions + direction;
  const Index width_in = layer > 0 ? width() : sizes.inputs;
  pass.shape = &shape;
  pass.code = &code_of(cell, T{});
  pass.layout = {width_in, sizes.width(), sizes.hidden, shape.gates, kernels.lanes, group_of(shape.gates)};
  pass.sparse = {};
  if (layer == 0 && inputs.sparse.columns) {
    pass.sparse = inputs.sparse;
    pass.table_rows = sizes.inputs;
    pass.layout.inputs = 0;
  }
  set_matrices(pass, sizes);
  pass.bfloat16 = inputs.bfloat16;
  pass.schedule = schedule;
  pass.workers = workers;
  pass.reverse = direction == 1;
  pass.weights = inputs.weights[place];
  for (int s = 0; s < kMostStates; ++s) {
    const T* state = s < shape.states ? inputs.state[s] : nullptr;
    const T* start = s < shape.states ? inputs.start[s] : nullptr;
    pass.initial[s] = state ? state + place * state_size(s) : zeros;
    pass.initial_row[s] = state ? state_width(s) : 0;
    pass.start[s] = start ? start + place * state_width(s) : zeros;
  }
  pass.seed = inputs.seed;
  pass.place = static_cast<std::uint32_t>(layer * 2 + direction);
  std::copy(std::begin(inputs.draws), std::end(inputs.draws), pass.draws);
  pass.entering = inputs.entering;
  pass.entering_scale = inputs.entering_scale;
  std::copy(std::begin(inputs.scalars), std::end(inputs.scalars), pass.scalars);
  pass.zeros = zeros;
}

template <class T>
void Call<T>::set_up_forward(ForwardPass<T>& pass, Workspace& own) const {
  pass.ahead_rows = ahead_rows(pass);
  if (!shape.staged) return;
  pass.z_rows = workers.share_rows ? inputs.sizes.batch : workers.count * workers.most_rows;
  const Index size = pass.z_rows * pass.layout.gate_columns();
  if (shape.split) pass.z_input = own.template take<T>(size);
  pass.z = own.template take<T>(size);
}

template <class T>
Index Call<T>::ahead_rows(const ForwardPass<T>& pass) const {
  const Index own = workers.share_rows ? most_rows : most_rows / workers.count;
  if (own >= kFewRows || inputs.sizes.steps < 2 || shape.split || pass.sparse.columns) return 0;
  return std::max(kAheadRows, most_rows);
}

template <class T>
void Call<T>::set_input(Pass<T>& pass, const Strided<const T>* h_before, const T* combined) const {
  pass.x[1] = {nullptr, 0, 0};
  pass.widths[1] = 0;
  pass.widths[0] = pass.layout.inputs;
  if (!h_before) {
    pass.x[0] = pass.sparse.columns ? Strided<const T>{nullptr, 0, 0} : inputs.x;
  } else if (combined) {
    pass.x[0] = dense(combined);
  } else {
    for (int d = 0; d < inputs.sizes.directions; ++d) {
      pass.x[d] = h_before[d];
      pass.widths[d] = inputs.sizes.width();
    }
  }
}

template <class T>
void Call<T>::combine(const Strided<const T>* h, const T* added, const T* factors, T* to) {
  const Index count = inputs.sizes.steps * inputs.sizes.batch, own = inputs.sizes.width();
  run(team, [&](int worker) {
    for (Index row = workers.part(count, worker); row < workers.part(count, worker + 1); ++row) {
      const Index t = row / inputs.sizes.batch, b = row % inputs.sizes.batch;
      for (int d = 0; d < inputs.sizes.directions; ++d) {
        const T* from = h[d].base + t * h[d].step + b * h[d].row;
        const Index at = row * width() + d * own;
        for (Index unit = 0; unit < own; ++unit) {
          T value = from[unit];
          if (added) value += added[at + unit];
          if (factors) value *= factors[at + unit];
          to[at + unit] = value;
        }
      }
    }
  });
}

template class Call<float>;
template class Call<double>;

}  // namespace holdfast
