// One frame of one direction of one layer.
#include "operands.h"
#include "staged_forward.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {
namespace {

// The rows of a tile in a frame. E is the type of what is multiplied.
template <class T, class E>
struct FrameTile {
  int count = 0;
  TileRow<T> rows[kMostTileRows];
  const TileRow<T>* pointers[kMostTileRows];
  const T* begin[kMostTileRows];
  Run<E> runs[2];
  Index x_scratch, h_scratch;
  E *rounded_x, *rounded_h;

  FrameTile(const ForwardPass<T>& pass, Arena& arena)
      : x_scratch(Operands<E>::scratch_width(pass.layout.inputs)),
        h_scratch(Operands<E>::scratch_width(pass.layout.width)),
        rounded_x(arena.take<E>(kMostTileRows * x_scratch)),
        rounded_h(arena.take<E>(kMostTileRows * h_scratch)) {}

  void find(const ForwardPass<T>& pass, const Frame<T>& frame, Index first, Index last) {
    count = static_cast<int>(last - first);
    const E *x[kMostTileRows], *h[kMostTileRows];
    for (int r = 0; r < count; ++r) {
      const Index b = first + r;
      TileRow<T>& row = rows[r];
      for (int s = 0; s < pass.shape->states; ++s) {
        row.old[s] = frame.old[s] + b * pass.state_width(s);
        row.next[s] = frame.next[s] + b * pass.state_width(s);
      }
      for (const T*& mask : row.masks) mask = pass.zeros;
      row.copy = nullptr;
      row.place = 0;
      pointers[r] = &row;
      x[r] = operand(frame.x + b * pass.layout.inputs, pass.layout.inputs, rounded_x + r * x_scratch);
      h[r] = operand(row.old[0], pass.layout.width, rounded_h + r * h_scratch);
    }
    runs[0] = run_of(x, count, Operands<E>::panel_rows(pass.layout.inputs));
    runs[1] = run_of(h, count, Operands<E>::panel_rows(pass.layout.width));
  }

  static const E* operand(const T* from, [[maybe_unused]] Index width, [[maybe_unused]] E* rounded) {
    if constexpr (Operands<E>::kRounded) {
      round_row(from, width, rounded);
      return rounded;
    } else {
      return from;
    }
  }
};

// Tile by tile, so that what is needed fits the stack; with more than one tile, each element of a panel that is read
// has work enough.
template <class T, class E>
void step_fused(const ForwardPass<T>& pass, const Frame<T>& frame, FrameTile<T, E>& tile) {
  const Layout& layout = pass.layout;
  alignas(kVectorBytes) T z[kMostTileRows * kMostGates * kLanes<T>];
  for (Index n = 0; n < layout.blocks(); ++n) {
    const Index block = frame.backwards ? layout.blocks() - 1 - n : n;
    for (int r = 0; r < tile.count; ++r) tile.begin[r] = pass.biases + block * layout.columns();
    const E* panel = reinterpret_cast<const E*>(pass.panels) + block * forward_panel_size<E>(layout);
    multiply_panel(Product<E>{tile.runs, 2, panel, layout.columns(), tile.begin, z, layout.columns(), 0}, tile.count,
                   layout.vectors());
    pass.code->forward(pass, tile.pointers, tile.count, z, block);
  }
}

// Of a staged cell: what the products give lies in `scratch`, and what the stages need after it.
template <class T, class E>
class StagedFrame {
 public:
  StagedFrame(const ForwardPass<T>& pass, Arena& arena)
      : pass_(pass),
        size_(pass.layout.blocks() * kMostTileRows * pass.layout.columns()),
        input_(arena.take<T>(pass.shape->split ? size_ : 0)),
        z_(arena.take<T>(pass.shape->staged ? size_ : 0)),
        staged_(pass, arena) {}

  void run(const Frame<T>& frame, FrameTile<T, E>& tile) {
    const Layout& layout = pass_.layout;
    const Index columns = layout.columns(), stride = kMostTileRows * columns;
    const int apart = pass_.shape->split ? 1 : 0;
    for (Index n = 0; n < layout.blocks(); ++n) {
      const Index block = frame.backwards ? layout.blocks() - 1 - n : n;
      for (int r = 0; r < tile.count; ++r) tile.begin[r] = pass_.biases + block * columns;
      const E* panel = reinterpret_cast<const E*>(pass_.panels) + block * forward_panel_size<E>(layout);
      const T* const* begin = apart ? nullptr : tile.begin;
      if (apart) {
        multiply_panel(Product<E>{tile.runs, 1, panel, columns, begin, input_ + block * stride, columns, 0}, tile.count,
                       layout.vectors());
        panel += Operands<E>::panel_rows(layout.inputs) * columns;
      }
      multiply_panel(Product<E>{tile.runs + apart, 2 - apart, panel, columns, begin, z_ + block * stride, columns, 0},
                     tile.count, layout.vectors());
    }
    RowProducts<T> products[kMostTileRows];
    for (int r = 0; r < tile.count; ++r) {
      products[r] = {apart ? input_ + r * columns : nullptr, z_ + r * columns, stride, stride};
    }
    staged_.run(tile.pointers, tile.count, products);
  }

 private:
  const ForwardPass<T>& pass_;
  const Index size_;
  T *input_, *z_;
  StagedForward<T> staged_;
};

template <class E, class T>
void step_tiles(const ForwardPass<T>& pass, const Frame<T>& frame, Arena arena) {
  FrameTile<T, E> tile(pass, arena);
  StagedFrame<T, E> staged(pass, arena);
  const Index tiles = ceil_div(frame.batch, kTileRows);
  for (Index n = 0; n < tiles; ++n) {
    tile.find(pass, frame, frame.batch * n / tiles, frame.batch * (n + 1) / tiles);
    pass.shape->staged ? staged.run(frame, tile) : step_fused(pass, frame, tile);
  }
}

template <class E, class T>
Index count_scratch(const ForwardPass<T>& pass) {
  Arena arena{nullptr, 0};
  const FrameTile<T, E> tile(pass, arena);
  const StagedFrame<T, E> staged(pass, arena);
  return arena.used;
}

}  // namespace

template <class T>
Index step_scratch(const ForwardPass<T>& pass) {
  return with_operands(pass, [&](auto operand) { return count_scratch<decltype(operand)>(pass); });
}

template <class T>
void step(const ForwardPass<T>& pass, const Frame<T>& frame) {
  if (frame.batch == 1 && pass.code->step && !pass.bfloat16) return pass.code->step(pass, frame);
  with_operands(pass, [&](auto operand) { step_tiles<decltype(operand)>(pass, frame, Arena{frame.scratch, 0}); });
}

template Index step_scratch(const ForwardPass<float>&);
template Index step_scratch(const ForwardPass<double>&);
template void step(const ForwardPass<float>&, const Frame<float>&);
template void step(const ForwardPass<double>&, const Frame<double>&);

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
