// The backward pass of one direction of one layer, as one worker has it.
//
// It runs against the order of the forward pass, chunk by chunk of steps. A chunk's gradients of the gates stay in
// panels while they are hot: they lead to d_x, and in tiles to the gradients of the weights, each tile summed over all
// rows by one worker, so that the bits do not depend on how many workers there are.
#include "pack.h"
#include "rows.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {
namespace {

// How many slots are summed up in registers before the sum is added to a tile. Their gates stream from the second
// cache, which costs less than adding to the tiles more often.
constexpr Index kSlotsAtOnce = 256;
// How many rows of a panel are multiplied by all tiles before the next ones are: as many as the second cache holds.
constexpr Index kPanelRows = 2048;

template <class T>
class Backward {
 public:
  Backward(const BackwardPass<T>& pass, int worker, Arena& arena)
      : pass_(pass),
        layout_(pass.layout),
        pointwise_(kPointwise<T>[pass.cell]),
        shape_(kShapes[pass.cell]),
        worker_(worker),
        share_(share_of(pass, worker)),
        most_(share_.last_row - share_.first_row),
        rows_(pass, most_, arena),
        out_(arena.take<T>(pass.chunk * layout_.backward_columns())),
        slots_(arena.take<Slot>(pass.chunk)) {}

  void run() {
    const Index steps = pass_.schedule.steps;
    bool first = true;
    for (Index n = 0; n < steps;) {
      Index used = 0;
      own_slots_ = 0;
      for (; n < steps && used + pass_.schedule.count(time(n)) <= pass_.chunk; ++n) {
        step(time(n), used);
        used += pass_.schedule.count(time(n));
      }
      if (pass_.d_x[0].base) to_inputs();
      if (pass_.tiles) {
        pass_.workers.wait();
        add_weights(used, first);
        first = false;
      }
      // The next chunk takes the place of this one, in other slots of other workers.
      pass_.workers.wait();
    }
    if (pass_.tiles) give_weights();
    clear_padding();
  }

 private:
  // A slot of this worker's own in the chunk.
  struct Slot {
    Index slot, t, b;
  };

  Index time(Index n) const { return pass_.reverse ? n : pass_.schedule.steps - 1 - n; }

  void step(Index t, Index used) {
    rows_.find(pass_, share_, pass_.states, t);
    find_places(t, used);
    if (pass_.tiles) keep_inputs(t);
    for (Index block = share_.first_block; block < share_.last_block; ++block) {
      for (Index n = 0; n < rows_.tile_count; ++n) {
        pointwise_.backward(pass_, rows_.tiles[n].rows, rows_.tiles[n].count, block);
      }
    }
    for (int s = 1; s < shape_.states; ++s) restart(s, share_.first_block * layout_.units(), end_unit());
    if (pass_.workers.share_rows) pass_.workers.wait();
    to_old_h();
    if (pass_.workers.share_rows) pass_.workers.wait();
  }

  Index end_unit() const {
    const Index end = share_.last_block * layout_.units();
    return end < layout_.hidden ? end : layout_.hidden;
  }

  void find_places(Index t, Index used) {
    const std::int32_t* list = pass_.schedule.at(t);
    Index place = pass_.schedule.lengths ? 0 : share_.first_row;  // among all rows of the step
    for (Index n = 0; n < rows_.count; ++n) {
      TileRow<T>& row = rows_.rows[n];
      while (list[place] != row.batch) ++place;
      row.slot = used + place;
      slots_[own_slots_++] = {row.slot, t, row.batch};
      for (int s = 0; s < kMostStates; ++s) {
        if (pass_.carried[s]) row.carried[s] = pass_.carried[s] + row.batch * layout_.hidden;
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
      T* left = pass_.left + row.slot * kMostTileRows;
      Index column = 0;
      for (int part = 0; part < 2; ++part) {
        const Strided<const T>& x = pass_.x[part];
        if (x.base) column = keep_columns(left, column, x.base + t * x.step + row.batch * x.row, pass_.widths[part]);
      }
      keep_columns(left, round_up(column, kMostTileRows), rows_.entering[n], layout_.hidden);
    }
  }

  Index keep_columns(T* left, Index column, const T* from, Index width) const {
    const Index group = pass_.chunk * kMostTileRows;
    Index k = 0;
    for (; k < width && (column + k) % kMostTileRows; ++k) {
      left[(column + k) / kMostTileRows * group + (column + k) % kMostTileRows] = from[k];
    }
    T* to = left + (column + k) / kMostTileRows * group;
    for (; k + kMostTileRows <= width; k += kMostTileRows, to += group) {
      __builtin_memcpy(to, from + k, kMostTileRows * sizeof(T));
    }
    for (Index rest = 0; k < width; ++k, ++rest) to[rest] = from[k];
    return column + width;
  }

  // What reaches the old state of rows that restarted belongs to `start`.
  void restart(int s, Index first, Index last) {
    if (!pass_.started) return;
    T* started = pass_.started + s * pass_.schedule.batch * layout_.hidden;
    for (Index n = 0; n < rows_.count; ++n) {
      const TileRow<T>& row = rows_.rows[n];
      if (!row.restarts) continue;
      for (Index unit = first; unit < last; ++unit) {
        started[row.batch * layout_.hidden + unit] += row.carried[s][unit];
        row.carried[s][unit] = 0;
      }
    }
  }

  const T* gates_of(Index slot) const { return pass_.gates + slot * layout_.columns(); }

  // What `count` slots give in a panel, into out_ [count, backward_columns].
  void multiply_back(const Slot* slots, Index count, const T* panels, Index width, Index panel) {
    const Index most = layout_.backward_columns(), columns = layout_.columns(), blocks = layout_.blocks();
    const int vectors = layout_.backward_vectors(width, panel);
    const T* rows = panels + panel * layout_.gate_columns() * most;
    const Index parts = ceil_div(blocks * columns, kPanelRows), tiles = ceil_div(count, kTileRows);
    for (Index part = 0; part < parts; ++part) {
      const Index block = blocks * part / parts, end = blocks * (part + 1) / parts;
      for (Index tile = 0; tile < tiles; ++tile) {
        const Index first = count * tile / tiles;
        const int size = static_cast<int>(count * (tile + 1) / tiles - first);
        Run<T> run;
        const T* begin[kMostTileRows];
        for (int r = 0; r < size; ++r) {
          run.rows[r] = gates_of(block * pass_.chunk + slots[first + r].slot);
          begin[r] = out_ + (first + r) * most;
        }
        run.length = columns;
        run.count = end - block;
        run.stride = pass_.chunk * columns;
        const T* panel_part = rows + block * columns * vectors * kLanes<T>;
        kMultiply<T>[size - 1][vectors - 1](
            {&run, 1, panel_part, part > 0 ? begin : nullptr, out_ + first * most, most});
      }
    }
  }

  // The panels of a product that are this worker's own: where the rows are shared, the panels are not.
  Index first_panel(Index panels) const {
    return pass_.workers.share_rows ? pass_.workers.part(panels, worker_) : 0;
  }
  Index last_panel(Index panels) const {
    return pass_.workers.share_rows ? pass_.workers.part(panels, worker_ + 1) : panels;
  }

  void to_old_h() {
    const Index panels = layout_.backward_panels(layout_.hidden), most = layout_.backward_columns();
    const Slot* slots = slots_ + own_slots_ - rows_.count;  // of this step
    for (Index panel = first_panel(panels); panel < last_panel(panels); ++panel) {
      const Index unit = panel * most, width = layout_.hidden - unit < most ? layout_.hidden - unit : most;
      multiply_back(slots, rows_.count, pass_.panels, layout_.hidden, panel);
      for (Index n = 0; n < rows_.count; ++n) add_to_h(rows_.rows[n], out_ + n * most, unit, width);
    }
    const Index end = last_panel(panels) * most;
    restart(0, first_panel(panels) * most, end < layout_.hidden ? end : layout_.hidden);
  }

  // Adds what reaches `width` units of what entered weight_hh to the old h.
  void add_to_h(const TileRow<T>& row, const T* d_entering, Index unit, Index width) const {
    const Index own = row.batch - share_.first_row;
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
    for (Index panel = first_panel(panels); panel < last_panel(panels); ++panel) {
      multiply_back(slots_, own_slots_, pass_.input_panels, layout_.inputs, panel);
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

  Index groups() const { return layout_.column_groups(layout_.inputs) + layout_.column_groups(layout_.hidden); }

  // Adds the chunk's outer products to this worker's tiles, and its sums to the biases and parameters.
  void add_weights(Index used, bool first) {
    const Index items = layout_.blocks() * groups(), last = pass_.workers.part(items, worker_ + 1);
    for (Index item = pass_.workers.part(items, worker_); item < last;) {
      const Index block = item / groups(), end = (block + 1) * groups() < last ? (block + 1) * groups() : last;
      add_tiles(block, item - block * groups(), end - block * groups(), used, first);
      item = end;
    }
    const Index blocks = layout_.blocks();
    for (Index block = pass_.workers.part(blocks, worker_); block < pass_.workers.part(blocks, worker_ + 1); ++block) {
      T* sums = pass_.sums + block * sum_columns();
      add_columns(pass_.gates + block * pass_.chunk * layout_.columns(), layout_.columns(), used, sums, first);
      const Index parameters = shape_.parameters * layout_.units();
      const T* of_parameters = pass_.parameters + block * pass_.chunk * parameters;
      add_columns(of_parameters, parameters, used, sums + layout_.columns(), first);
    }
  }

  void add_tiles(Index block, Index begin, Index end, Index used, bool first) {
    const Index columns = layout_.columns(), x_groups = layout_.column_groups(layout_.inputs);
    for (Index slot = 0; slot < used; slot += kSlotsAtOnce) {
      for (Index group = begin; group < end; ++group) {
        const Index width = group < x_groups ? layout_.inputs - group * kMostTileRows
                                             : layout_.hidden - (group - x_groups) * kMostTileRows;
        const Index count = width < kMostTileRows ? width : kMostTileRows;
        Outer<T> outer;
        outer.left = pass_.left + (group * pass_.chunk + slot) * kMostTileRows;
        outer.left_stride = kMostTileRows;
        outer.right = pass_.gates + (block * pass_.chunk + slot) * columns;
        outer.count = used - slot < kSlotsAtOnce ? used - slot : kSlotsAtOnce;
        outer.tile = pass_.tiles + (block * groups() + group) * kMostTileRows * columns;
        outer.first = first && slot == 0;
        add_columns_of(outer, count);
      }
    }
  }

  // As many columns of a group at a time as fit the registers.
  void add_columns_of(Outer<T> outer, Index count) const {
    for (Index j = 0; j < count; j += kTileRows) {
      const Index some = count - j < kTileRows ? count - j : kTileRows;
      kAddOuter<T>[some - 1][layout_.vectors() - 1](outer);
      outer.left += some;
      outer.tile += some * layout_.columns();
    }
  }

  Index sum_columns() const { return layout_.columns() + shape_.parameters * layout_.units(); }

  static void add_columns(const T* panel, Index columns, Index used, T* sums, bool first) {
    for (Index column = 0; column < columns; column += kLanes<T>) {
      Vec<T> sum = {};
      for (Index slot = 0; slot < used; ++slot) sum += load(panel + slot * columns + column);
      store(sums + column, first ? sum : load(sums + column) + sum);
    }
  }

  void give_weights() {
    const WeightGradients<T>& to = pass_.weight_gradients;
    const Index blocks = layout_.blocks(), end = pass_.workers.part(blocks, worker_ + 1);
    const Index x_columns = round_up(layout_.inputs, kMostTileRows);
    for (Index block = pass_.workers.part(blocks, worker_); block < end; ++block) {
      const T* tiles = pass_.tiles + block * groups() * kMostTileRows * layout_.columns();
      unpack_tiles(layout_, tiles, layout_.inputs, block, to.input);
      unpack_tiles(layout_, tiles + x_columns * layout_.columns(), layout_.hidden, block, to.recurrent);
      const T* sums = pass_.sums + block * sum_columns();
      for (Index u = 0; u < layout_.units(); ++u) {
        const Index unit = block * layout_.units() + u;
        if (unit >= layout_.hidden) break;
        for (int g = 0; g < layout_.gates && to.bias; ++g) {
          to.bias[g * layout_.hidden + unit] = sums[g * layout_.units() + u];
        }
        for (int p = 0; p < shape_.parameters; ++p) {
          to.parameters[p][unit] = sums[layout_.columns() + p * layout_.units() + u];
        }
      }
    }
  }

  // Zeros after the last step of each row.
  void clear_padding() {
    if (!pass_.schedule.lengths || (pass_.workers.share_rows && worker_ > 0)) return;
    for (Index b = share_.first_row; b < share_.last_row; ++b) {
      for (Index t = pass_.schedule.lengths[b]; t < pass_.schedule.steps; ++t) clear(t, b);
    }
  }

  void clear(Index t, Index b) {
    const Index place = (t * pass_.schedule.batch + b) * layout_.hidden;
    const Index bytes = layout_.hidden * static_cast<Index>(sizeof(T));
    for (int part = 0; part < 2 && !pass_.add_to_x; ++part) {
      const Strided<T>& d_x = pass_.d_x[part];
      const Index width = pass_.widths[part] * static_cast<Index>(sizeof(T));
      if (d_x.base) __builtin_memset(d_x.base + t * d_x.step + b * d_x.row, 0, static_cast<std::size_t>(width));
    }
    for (T* values : pass_.gate_values) {
      if (values) __builtin_memset(values + place, 0, static_cast<std::size_t>(bytes));
    }
    for (T* values : pass_.states_at) {
      if (values) __builtin_memset(values + place, 0, static_cast<std::size_t>(bytes));
    }
  }

  const BackwardPass<T>& pass_;
  const Layout& layout_;
  const Pointwise<T>& pointwise_;
  const CellShape& shape_;
  const int worker_;
  const Share share_;
  const Index most_;
  StepRows<T> rows_;
  T* out_;
  Slot* slots_;
  Index own_slots_ = 0;
};

}  // namespace

template <class T>
Index backward_scratch(const BackwardPass<T>& pass, int worker) {
  Arena arena{nullptr, 0};
  const Backward<T> counted(pass, worker, arena);
  return arena.used;
}

template <class T>
void backward(const BackwardPass<T>& pass, int worker) {
  pack_backward(pass.layout, pass.workers, worker, pass.weights.recurrent, pass.layout.hidden, pass.panels);
  if (pass.input_panels) {
    pack_backward(pass.layout, pass.workers, worker, pass.weights.input, pass.layout.inputs, pass.input_panels);
  }
  pass.workers.wait();
  Arena arena{pass.scratch + worker * pass.scratch_bytes, 0};
  Backward<T>(pass, worker, arena).run();
}

template Index backward_scratch(const BackwardPass<float>&, int);
template Index backward_scratch(const BackwardPass<double>&, int);
template void backward(const BackwardPass<float>&, int);
template void backward(const BackwardPass<double>&, int);

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
