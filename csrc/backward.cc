// The backward pass of one direction of one layer, as one worker has it.
//
// It runs against the order of the forward pass, chunk by chunk of steps. A chunk's gradients of the gates stay in
// panels while they are hot: they lead to d_x, and to the gradients of the weights. Where values were not kept, a span
// of steps is run forward again before it is run backward; chunks and spans need not agree.
#include "forward.h"
#include "operands.h"
#include "rows.h"
#include "staged_backward.h"
#include "weight_sums.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {
namespace {

// How many rows of a panel are multiplied by all tiles before the next ones are: as many as the second cache holds.
constexpr Index kPanelRows = 2048;

// E is the type of what is multiplied.
template <class T, class E>
class Backward {
 public:
  Backward(const BackwardPass<T>& pass, int worker, Arena& arena)
      : pass_(pass),
        layout_(pass.layout),
        shape_(*pass.shape),
        worker_(worker),
        share_(share_of(pass, worker)),
        rows_(pass, share_.most_rows, arena),
        staged_(pass, arena),
        weights_(pass, worker, arena),
        out_(arena.take<T>(pass.chunk * layout_.backward_columns())),
        slots_(arena.take<Slot>(pass.chunk)),
        rest_(arena) {
    if (pass.rebuild) const Forward<T, E> counted(*pass.rebuild, worker, arena);
  }

  void run() {
    span_ = {0, pass_.schedule.steps, 0, {}};
    if (pass_.rebuild) span_.begin = pass_.schedule.steps;
    bool first = true;
    for (Index left = pass_.schedule.steps; left > 0;) {
      Index used = 0;
      const Index last = left;
      own_slots_ = 0;
      for (; left > 0 && used + pass_.schedule.count(pass_.time(left - 1)) <= pass_.chunk; --left) {
        if (left <= span_.begin) rebuild(left);
        step(pass_.time(left - 1), used);
        used += pass_.schedule.count(pass_.time(left - 1));
      }
      if (pass_.d_x[0].base) to_inputs();
      if (pass_.tiles) {
        pass_.workers.wait();
        weights_.add(used, first);
        if (pass_.sparse.columns) add_to_table(left, last);
        first = false;
      }
      // The next chunk takes the place of this one, in other slots of other workers.
      pass_.workers.wait();
    }
    if (pass_.tiles) weights_.give();
    clear_padding();
  }

 private:
  // A slot of this worker's own in the chunk.
  struct Slot {
    Index slot, t, b;
  };

  // Runs the span that ends with step `end` forward again.
  void rebuild(Index end) {
    const Index every = pass_.rebuild->every, place = (end - 1) / every;
    span_.begin = place * every;
    span_.end = end;
    span_.kept_from = pass_.reverse ? pass_.time(end - 1) : span_.begin;
    for (int s = 0; s < shape_.states; ++s) {
      span_.before[s] = pass_.checkpoints[s] + place * pass_.schedule.batch * pass_.state_width(s);
    }
    Arena arena = rest_;
    Forward<T, E>(*pass_.rebuild, worker_, arena).run(span_);
  }

  void step(Index t, Index used) {
    rows_.find(pass_, share_, span_, pass_.states, t);
    find_places(t, used);
    if (pass_.tiles) keep_inputs(t);
    shape_.staged ? run_stages() : run_blocks();
    if (pass_.workers.share_rows) pass_.workers.wait();
    if constexpr (Operands<E>::kRounded) {
      round_gates();
      if (pass_.workers.share_rows) pass_.workers.wait();
    }
    for (int s = 1; s < shape_.states; ++s) restart(s, own_part(layout_.hidden, 0), own_part(layout_.hidden, 1));
    to_old_h();
    if (pass_.workers.share_rows) pass_.workers.wait();
  }

  void run_blocks() {
    for (Index block = share_.first_block; block < share_.last_block; ++block) {
      for (Index n = 0; n < rows_.tile_count; ++n) {
        pass_.code->backward(pass_, rows_.tiles[n].rows, rows_.tiles[n].count, block);
      }
    }
  }

  void run_stages() {
    const Index begin = own_part(rows_.count, 0), end = own_part(rows_.count, 1);
    for (Index first = begin; first < end; first += kTileRows) {
      staged_.run(rows_.pointers + first, static_cast<int>(end - first < kTileRows ? end - first : kTileRows));
    }
  }

  // The gates of this step as the products read them.
  void round_gates() const {
    const Index columns = layout_.columns();
    for (Index block = share_.first_block; block < share_.last_block; ++block) {
      for (Index n = 0; n < rows_.count; ++n) {
        const Index at = (block * pass_.chunk + rows_.rows[n].slot) * columns;
        round_row(pass_.gates + at, columns, gates() + at);
        if (shape_.split && pass_.input_panels) round_row(pass_.inputs + at, columns, inputs() + at);
      }
    }
  }

  E* gates() const {
    if constexpr (Operands<E>::kRounded) return static_cast<E*>(pass_.rounded_gates);
    return reinterpret_cast<E*>(pass_.gates);
  }
  E* inputs() const {
    if constexpr (Operands<E>::kRounded) {
      return static_cast<E*>(shape_.split ? pass_.rounded_inputs : pass_.rounded_gates);
    }
    return reinterpret_cast<E*>(pass_.inputs);
  }

  // Where a worker's own part of n equal things begins or ends: where the rows are shared, these are not.
  Index own_part(Index n, int end) const {
    if (!pass_.workers.share_rows) return end ? n : 0;
    return pass_.workers.part(n, worker_ + end);
  }

  void find_places(Index t, Index used) {
    for (Index n = 0; n < rows_.count; ++n) {
      TileRow<T>& row = rows_.rows[n];
      row.slot = used + row.order;
      slots_[own_slots_++] = {row.slot, t, row.batch};
      for (int s = 0; s < shape_.states; ++s) {
        row.carried[s] = pass_.carried[s] + row.batch * pass_.state_width(s);
        for (int k = 0; k < 2; ++k) {
          const Strided<const T>& outside = pass_.outside[s][k];
          row.outside[s][k] = outside.base ? outside.base + t * outside.step + row.batch * outside.row : nullptr;
        }
      }
    }
  }

  // What the gates read, in groups of columns: x, then what entered weight_hh.
  void keep_inputs(Index t) {
    for (Index n = 0; n < rows_.count; ++n) {
      const TileRow<T>& row = rows_.rows[n];
      if (pass_.workers.share_rows && n % pass_.workers.count != worker_) continue;
      Index column = 0;
      for (int part = 0; part < 2; ++part) {
        const Strided<const T>& x = pass_.x[part];
        if (!x.base) continue;
        weights_.keep(row.slot, column, x.base + t * x.step + row.batch * x.row, pass_.widths[part]);
        column += pass_.widths[part];
      }
      weights_.keep(row.slot, round_up(column, kMostTileRows), rows_.entering[n], layout_.width);
    }
  }

  // What reaches the old state of rows that restarted belongs to `start`.
  void restart(int s, Index first, Index last) {
    if (!pass_.started) return;
    const Index most = layout_.width > layout_.hidden ? layout_.width : layout_.hidden;
    T* started = pass_.started + s * pass_.schedule.batch * most;
    for (Index n = 0; n < rows_.count; ++n) {
      const TileRow<T>& row = rows_.rows[n];
      if (!row.restarts) continue;
      for (Index unit = first; unit < last; ++unit) {
        started[row.batch * most + unit] += row.carried[s][unit];
        row.carried[s][unit] = 0;
      }
    }
  }

  // What the gates' gradients of `count` slots give in a panel, into out_ [count, backward_columns].
  void multiply_back(const E* gates, const Slot* slots, Index count, const T* packed, Index width, Index panel) {
    const Index most = layout_.backward_columns(), columns = layout_.columns(), blocks = layout_.blocks();
    const int vectors = layout_.backward_vectors(width, panel);
    const Index panel_columns = Index{vectors} * kLanes<T>;
    const E* rows = reinterpret_cast<const E*>(packed) + panel * layout_.gate_columns() * most;
    const Index parts = ceil_div(blocks * columns, kPanelRows), tiles = ceil_div(count, kTileRows);
    for (Index part = 0; part < parts; ++part) {
      const Index block = blocks * part / parts, end = blocks * (part + 1) / parts;
      for (Index tile = 0; tile < tiles; ++tile) {
        const Index first = count * tile / tiles;
        const int size = static_cast<int>(count * (tile + 1) / tiles - first);
        Run<E> run;
        const T* begin[kMostTileRows];
        for (int r = 0; r < size; ++r) {
          run.rows[r] = gates + (block * pass_.chunk + slots[first + r].slot) * columns;
          begin[r] = out_ + (first + r) * most;
        }
        run.length = columns;
        run.count = end - block;
        run.stride = pass_.chunk * columns;
        multiply_panel(Product<E>{&run, 1, rows + block * columns * panel_columns, panel_columns,
                                  part > 0 ? begin : nullptr, out_ + first * most, most, 0},
                       size, vectors);
      }
    }
  }

  void to_old_h() {
    const Index panels = layout_.backward_panels(layout_.width), most = layout_.backward_columns();
    const Slot* slots = slots_ + own_slots_ - rows_.count;  // of this step
    for (Index panel = own_part(panels, 0); panel < own_part(panels, 1); ++panel) {
      const Index unit = panel * most, width = layout_.width - unit < most ? layout_.width - unit : most;
      multiply_back(gates(), slots, rows_.count, pass_.panels, layout_.width, panel);
      for (Index n = 0; n < rows_.count; ++n) add_to_h(rows_.rows[n], out_ + n * most, unit, width);
    }
    const Index end = own_part(panels, 1) * most;
    restart(0, own_part(panels, 0) * most, end < layout_.width ? end : layout_.width);
  }

  // Adds what reaches `width` units of what entered weight_hh to the old h.
  void add_to_h(const TileRow<T>& row, const T* d_entering, Index unit, Index width) const {
    const Index own = rows_.entering_masks ? pass_.workers.places[row.batch] : 0;
    const T* mask = rows_.entering_masks ? rows_.entering_masks + own * rows_.mask_width : nullptr;
    const Vec<T> scale = broadcast<T>(pass_.entering_scale);
    T* carried = row.carried[0] + unit;
    for (Index k = 0; k < width; k += kLanes<T>) {
      Vec<T> reaching = load(d_entering + k);
      if (mask) reaching = HOLDFAST_LEVEL::entering::backward(reaching, scale, load(mask + unit + k) != Vec<T>{});
      if (width - k >= kLanes<T>) {
        store(carried + k, load(carried + k) + reaching);
      } else {
        const int n = static_cast<int>(width - k);
        store(carried + k, load(carried + k, n) + reaching, n);
      }
    }
  }

  // The gradients of x of the chunk's slots.
  void to_inputs() {
    const Index panels = layout_.backward_panels(layout_.inputs), most = layout_.backward_columns();
    for (Index panel = own_part(panels, 0); panel < own_part(panels, 1); ++panel) {
      multiply_back(inputs(), slots_, own_slots_, pass_.input_panels, layout_.inputs, panel);
      for (Index n = 0; n < own_slots_; ++n) give_x(slots_[n], out_ + n * most, panel * most);
    }
  }

  void give_x(const Slot& slot, const T* from, Index column) const {
    Index begin = 0;  // of the part
    for (int part = 0; part < 2; ++part) {
      const Strided<T>& d_x = pass_.d_x[part];
      if (!d_x.base) continue;
      T* to = d_x.base + slot.t * d_x.step + slot.b * d_x.row;
      const Index most = column + layout_.backward_columns(), end = begin + pass_.widths[part];
      for (Index k = begin > column ? begin : column; k < (end < most ? end : most); ++k) {
        to[k - begin] = pass_.add_to_x ? to[k - begin] + from[k - column] : from[k - column];
      }
      begin = end;
    }
  }

  // The gradient of the table that a sparse x picks rows of, from the steps of a chunk; its columns are split.
  void add_to_table(Index begin, Index end) const {
    Index slot = 0;
    for (Index left = end; left > begin; --left) {
      const Index t = pass_.time(left - 1);
      const std::int32_t* list = pass_.schedule.at(t);
      for (Index n = 0; n < pass_.schedule.count(t); ++n, ++slot) add_slot(t * pass_.schedule.batch + list[n], slot);
    }
  }

  void add_slot(Index at, Index slot) const {
    const Sparse<T>& sparse = pass_.sparse;
    const Index hidden = layout_.hidden, units = layout_.units(), blocks = layout_.blocks();
    const Index first = sparse.first ? sparse.first[at] : at, last = sparse.first ? sparse.first[at + 1] : at + 1;
    const Index first_block = pass_.workers.part(blocks, worker_), last_block = pass_.workers.part(blocks, worker_ + 1);
    for (Index k = first; k < last; ++k) {
      T* table = pass_.weight_gradients.input + sparse.columns[k] * layout_.gates * hidden;
      const Vec<T> factor = broadcast<T>(sparse.factors ? sparse.factors[k] : T{1});
      for (Index block = first_block; block < last_block; ++block) {
        const T* gates = pass_.inputs + (block * pass_.chunk + slot) * layout_.columns();
        for (int g = 0; g < layout_.gates; ++g) {
          for (Index u = 0; u < units && block * units + u < hidden; u += kLanes<T>) {
            const Index left = hidden - block * units - u;
            T* to = table + g * hidden + block * units + u;
            const Vec<T> own = load(gates + g * units + u);
            if (left >= kLanes<T>) {
              store(to, fma(factor, own, load(to)));
            } else {
              const int some = static_cast<int>(left);
              store(to, fma(factor, own, load(to, some)), some);
            }
          }
        }
      }
    }
  }

  // Zeros after the last step of each row.
  void clear_padding() {
    const Schedule& schedule = pass_.schedule;
    if (!schedule.lengths) return;
    for (Index b = 0; b < schedule.batch; ++b) {
      if (pass_.workers.share_rows ? worker_ > 0 : pass_.workers.owners[b] != worker_) continue;
      for (Index t = schedule.lengths[b]; t < schedule.steps; ++t) clear(t, b);
    }
  }

  void clear(Index t, Index b) {
    const Index at = t * pass_.schedule.batch + b;
    for (int part = 0; part < 2 && !pass_.add_to_x; ++part) {
      const Strided<T>& d_x = pass_.d_x[part];
      if (d_x.base) clear_row(d_x.base + t * d_x.step + b * d_x.row, pass_.widths[part]);
    }
    for (T* values : pass_.gate_values) {
      if (values) clear_row(values + at * layout_.hidden, layout_.hidden);
    }
    for (int s = 0; s < shape_.states; ++s) {
      if (pass_.states_at[s]) clear_row(pass_.states_at[s] + at * pass_.state_width(s), pass_.state_width(s));
    }
  }

  static void clear_row(T* row, Index width) {
    __builtin_memset(row, 0, static_cast<std::size_t>(width) * sizeof(T));
  }

  const BackwardPass<T>& pass_;
  const Layout& layout_;
  const CellShape& shape_;
  const int worker_;
  const Share share_;
  StepRows<T> rows_;
  StagedBackward<T> staged_;
  WeightSums<T, E> weights_;
  T* out_;
  Slot* slots_;
  const Arena rest_;  // for what runs a span forward again
  Span<T> span_{};
  Index own_slots_ = 0;
};

template <class E, class T>
Index count_scratch(const BackwardPass<T>& pass, int worker) {
  Arena arena{nullptr, 0};
  const Backward<T, E> counted(pass, worker, arena);
  return arena.used;
}

template <class E, class T>
void run(const BackwardPass<T>& pass, int worker) {
  const Layout& layout = pass.layout;
  pack_backward(layout, pass.workers, worker, pass.weights.recurrent, layout.width, reinterpret_cast<E*>(pass.panels));
  if (pass.input_panels) {
    pack_backward(layout, pass.workers, worker, pass.weights.input, layout.inputs,
                  reinterpret_cast<E*>(pass.input_panels));
  }
  for (int m = 0; m < pass.shape->matrices; ++m) {
    pack_plain(pass.workers, worker, pass.matrices[m], pass.weights.matrices[m], pass.matrix_panels[m]);
  }
  if (pass.rebuild) pack_forward<E>(*pass.rebuild, worker);
  if (pass.sparse.columns && pass.tiles) {
    const Index size = pass.table_rows * layout.gates * layout.hidden;
    const Index from = pass.workers.part(size, worker), to = pass.workers.part(size, worker + 1);
    __builtin_memset(pass.weight_gradients.input + from, 0, static_cast<std::size_t>(to - from) * sizeof(T));
  }
  pass.workers.wait();
  Arena arena{pass.scratch + worker * pass.scratch_bytes, 0};
  Backward<T, E>(pass, worker, arena).run();
}

}  // namespace

template <class T>
Index backward_scratch(const BackwardPass<T>& pass, int worker) {
  return with_operands(pass, [&](auto operand) { return count_scratch<decltype(operand)>(pass, worker); });
}

template <class T>
void backward(const BackwardPass<T>& pass, int worker) {
  with_operands(pass, [&](auto operand) { run<decltype(operand)>(pass, worker); });
}

template Index backward_scratch(const BackwardPass<float>&, int);
template Index backward_scratch(const BackwardPass<double>&, int);
template void backward(const BackwardPass<float>&, int);
template void backward(const BackwardPass<double>&, int);

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
