// The gradients of the weights: outer products of what was read and what reaches what it led to, summed over all slots,
// chunk by chunk, each tile by one worker, so that the bits do not depend on how many workers there are. Included by
// the sources of a level only.
#pragma once

#include "operands.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {

// How many slots are summed up in registers before the sum is added to a tile. Their gates stream from the second
// cache, which costs less than adding to the tiles more often.
constexpr Index kSlotsAtOnce = 256;

// Copies `width` columns of one slot into groups of kMostTileRows, from column `column` on; returns the column after.
template <class T>
Index keep_columns(T* left, Index chunk, Index column, const T* from, Index width) {
  const Index group = chunk * kMostTileRows;
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

// Panels of gradients times groups of columns, of some slots of a chunk. E is the type of what is multiplied; rounded,
// slots come in pairs.
template <class T, class E>
struct Tiles {
  const E* right;  // [chunk, columns] of a block
  const E* left;   // [groups, chunk, kMostTileRows]
  T* tiles;        // [groups, kMostTileRows, columns] of the block
  Index width;     // columns of the groups in all
  Index chunk;
  Index columns;
  bool first;      // the tiles hold nothing yet

  // Those of groups from `begin` up to `end`, over `used` slots.
  void add(Index begin, Index end, Index used) const {
    for (Index slot = 0; slot < used; slot += kSlotsAtOnce) {
      for (Index group = begin; group < end; ++group) {
        const Index rest = width - group * kMostTileRows, count = rest < kMostTileRows ? rest : kMostTileRows;
        constexpr Index kEach = Operands<E>::kRounded ? 2 : 1;
        Outer<E> outer;
        outer.left = left + (group * chunk + slot) * kMostTileRows;
        outer.left_stride = kEach * kMostTileRows;
        outer.right = right + slot * columns;
        outer.right_columns = columns;
        outer.count = used - slot < kSlotsAtOnce ? used - slot : kSlotsAtOnce;
        outer.tile = tiles + group * kMostTileRows * columns;
        outer.first = first && slot == 0;
        // As many columns of a group at a time as fit the registers.
        for (Index j = 0; j < count; j += kTileRows) {
          const Index some = count - j < kTileRows ? count - j : kTileRows;
          add_outer_panel(outer, static_cast<int>(some), static_cast<int>(columns / kLanes<T>));
          outer.left += kEach * some;
          outer.tile += some * columns;
        }
      }
    }
  }
};

template <class T, class E>
class WeightSums {
 public:
  WeightSums(const BackwardPass<T>& pass, int worker, Arena& arena)
      : pass_(pass),
        layout_(pass.layout),
        worker_(worker),
        x_groups_(layout_.column_groups(layout_.inputs)),
        groups_(x_groups_ + layout_.column_groups(layout_.width)),
        pairs_(arena.take<E>(Operands<E>::kRounded && pass.tiles ? pass.chunk * layout_.columns() : 0)) {}

  // What the gates of a slot read: x from column 0 on, what entered weight_hh after it, from a new group on.
  void keep(Index slot, Index column, const T* from, Index width) const {
    E* left = reinterpret_cast<E*>(pass_.left);
    if constexpr (Operands<E>::kRounded) {
      keep_column_pairs(from, width, column, slot, pass_.chunk * kMostTileRows, left);
    } else {
      keep_columns(left + slot * kMostTileRows, pass_.chunk, column, from, width);
    }
  }

  // Adds the chunk's outer products to this worker's tiles, and its sums to the biases and parameters.
  void add(Index used, bool first) const {
    const Index items = layout_.blocks() * groups_, last = pass_.workers.part(items, worker_ + 1);
    for (Index item = pass_.workers.part(items, worker_); item < last;) {
      const Index block = item / groups_, end = (block + 1) * groups_ < last ? (block + 1) * groups_ : last;
      add_tiles(block, item - block * groups_, end - block * groups_, used, first);
      item = end;
    }
    const Index blocks = layout_.blocks(), columns = layout_.columns();
    for (Index block = pass_.workers.part(blocks, worker_); block < pass_.workers.part(blocks, worker_ + 1); ++block) {
      T* sums = pass_.sums + block * sum_columns();
      add_columns(pass_.gates + block * pass_.chunk * columns, columns, used, sums, first);
      const Index own = pass_.shape->row_gradients() * layout_.units();
      add_columns(pass_.parameters + block * pass_.chunk * own, own, used, sums + columns, first);
    }
    for (int n = 0; n < kMostOuters && pass_.outers[n].tiles; ++n) add_matrix(n, used, first);
  }

  void give() const {
    const WeightGradients<T>& to = pass_.weight_gradients;
    const Index blocks = layout_.blocks(), end = pass_.workers.part(blocks, worker_ + 1);
    for (Index block = pass_.workers.part(blocks, worker_); block < end; ++block) {
      const T* tiles = pass_.tiles + block * groups_ * kMostTileRows * layout_.columns();
      if (!pass_.sparse.columns) unpack_tiles(layout_, tiles, layout_.inputs, block, to.input);
      unpack_tiles(layout_, tiles + x_groups_ * kMostTileRows * layout_.columns(), layout_.width, block, to.recurrent);
      give_sums(block);
    }
    pass_.workers.wait();
    give_matrices();
  }

 private:
  void add_tiles(Index block, Index begin, Index end, Index used, bool first) const {
    if (begin < x_groups_) {
      add_groups(pass_.inputs, block, 0, layout_.inputs, begin, end < x_groups_ ? end : x_groups_, used, first);
    }
    if (end > x_groups_) {
      const Index from = begin > x_groups_ ? begin - x_groups_ : 0;
      add_groups(pass_.gates, block, x_groups_, layout_.width, from, end - x_groups_, used, first);
    }
  }

  // Groups of the columns of x or of what entered weight_hh, of which the first one is `offset`.
  void add_groups(const T* gates, Index block, Index offset, Index width, Index begin, Index end, Index used,
                  bool first) const {
    const Index columns = layout_.columns();
    const T* of_block = gates + block * pass_.chunk * columns;
    const E* right;
    if constexpr (Operands<E>::kRounded) {
      pair_slots(of_block, used, columns, pairs_);
      right = pairs_;
    } else {
      right = of_block;
    }
    const E* left = reinterpret_cast<const E*>(pass_.left) + offset * pass_.chunk * kMostTileRows;
    T* tiles = pass_.tiles + (block * groups_ + offset) * kMostTileRows * columns;
    Tiles<T, E>{right, left, tiles, width, pass_.chunk, columns, first}.add(begin, end, used);
  }

  static void add_columns(const T* panel, Index columns, Index used, T* sums, bool first) {
    for (Index column = 0; column < columns; column += kLanes<T>) {
      Vec<T> sum = {};
      for (Index slot = 0; slot < used; ++slot) sum += load(panel + slot * columns + column);
      store(sums + column, first ? sum : load(sums + column) + sum);
    }
  }

  Index sum_columns() const { return layout_.columns() + pass_.shape->row_gradients() * layout_.units(); }

  void give_sums(Index block) const {
    const WeightGradients<T>& to = pass_.weight_gradients;
    const CellShape& shape = *pass_.shape;
    const T* sums = pass_.sums + block * sum_columns();
    const T* rows = sums + layout_.columns();
    const T* biases = shape.split ? rows + shape.parameters * layout_.units() : sums;
    for (Index u = 0; u < layout_.units(); ++u) {
      const Index unit = block * layout_.units() + u;
      if (unit >= layout_.hidden) break;
      for (int g = 0; g < layout_.gates && to.bias; ++g) {
        to.bias[g * layout_.hidden + unit] = biases[g * layout_.units() + u];
      }
      for (int p = 0; p < shape.parameters; ++p) to.parameters[p][unit] = rows[p * layout_.units() + u];
    }
  }

  const Cut& outer_cut(int n) const {
    const Cut* cut = pass_.shape->backward_cuts;
    for (;; ++cut) {
      if (cut->kind == CutKind::kOuter && n-- == 0) return *cut;
    }
  }

  void add_matrix(int n, Index used, bool first) const {
    const OuterChunk<T>& outer = pass_.outers[n];
    const Layout& layout = pass_.matrices[outer_cut(n).target].layout;
    const Index groups = layout.column_groups(layout.inputs), columns = layout.columns();
    const Index items = layout.blocks() * groups, last = pass_.workers.part(items, worker_ + 1);
    for (Index item = pass_.workers.part(items, worker_); item < last; ++item) {
      const Index block = item / groups, group = item % groups;
      const Tiles<T, T> own = {outer.right + block * pass_.chunk * columns, outer.left,
                            outer.tiles + block * groups * kMostTileRows * columns, layout.inputs, pass_.chunk, columns,
                            first};
      own.add(group, group + 1, used);
    }
  }

  // More than one of them may belong to the same matrix.
  void give_matrices() const {
    for (int n = 0; n < kMostOuters && pass_.outers[n].tiles; ++n) {
      const int target = outer_cut(n).target;
      bool again = false;
      for (int other = 0; other < n; ++other) again = again || outer_cut(other).target == target;
      const Layout& layout = pass_.matrices[target].layout;
      const Index groups = layout.column_groups(layout.inputs), blocks = layout.blocks();
      const Index end = pass_.workers.part(blocks, worker_ + 1);
      for (Index block = pass_.workers.part(blocks, worker_); block < end; ++block) {
        const T* tiles = pass_.outers[n].tiles + block * groups * kMostTileRows * layout.columns();
        unpack_tiles(layout, tiles, layout.inputs, block, pass_.weight_gradients.matrices[target], again);
      }
    }
  }

  const BackwardPass<T>& pass_;
  const Layout& layout_;
  const int worker_;
  const Index x_groups_, groups_;
  E* pairs_;  // of the gates of one block, rounded
};

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
