// One frame of one direction of one layer.
#include "staged_forward.h"
#include "step.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {
namespace {

// The rows of a tile in a frame.
template <class T>
struct FrameTile {
  int count;
  TileRow<T> rows[kMostTileRows];
  const TileRow<T>* pointers[kMostTileRows];
  const T *begin[kMostTileRows];
  Run<T> runs[2];

  FrameTile(const ForwardPass<T>& pass, const Frame<T>& frame, Index first, Index last)
      : count(static_cast<int>(last - first)) {
    const T *x[kMostTileRows], *h[kMostTileRows];
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
      x[r] = frame.x + b * pass.layout.inputs;
      h[r] = row.old[0];
    }
    runs[0] = run_of(x, count, pass.layout.inputs);
    runs[1] = run_of(h, count, pass.layout.width);
  }
};

// Tile by tile, so that what is needed fits the stack; with more than one tile, each element of a panel that is read
// has work enough.
template <class T>
void step_fused(const ForwardPass<T>& pass, const Frame<T>& frame, FrameTile<T>& tile) {
  const Layout& layout = pass.layout;
  alignas(kVectorBytes) T z[kMostTileRows * kMostGates * kMostVectors * kLanes<T>];
  for (Index n = 0; n < layout.blocks(); ++n) {
    const Index block = frame.backwards ? layout.blocks() - 1 - n : n;
    for (int r = 0; r < tile.count; ++r) tile.begin[r] = pass.biases + block * layout.columns();
    const T* panel = pass.panels + block * layout.forward_panel();
    multiply_panel<T>({tile.runs, 2, panel, layout.columns(), tile.begin, z, layout.columns(), 0}, tile.count,
                      layout.vectors());
    pass.code->forward(pass, tile.pointers, tile.count, z, block);
  }
}

// Of a staged cell: what the products give lies in `scratch`, and what the stages need after it.
template <class T>
class StagedFrame {
 public:
  StagedFrame(const ForwardPass<T>& pass, Arena& arena)
      : pass_(pass),
        size_(pass.layout.blocks() * kMostTileRows * pass.layout.columns()),
        input_(arena.take<T>(pass.shape->split ? size_ : 0)),
        z_(arena.take<T>(size_)),
        staged_(pass, arena) {}

  void run(const Frame<T>& frame, FrameTile<T>& tile) {
    const Layout& layout = pass_.layout;
    const Index columns = layout.columns(), stride = kMostTileRows * columns;
    for (Index n = 0; n < layout.blocks(); ++n) {
      const Index block = frame.backwards ? layout.blocks() - 1 - n : n;
      for (int r = 0; r < tile.count; ++r) tile.begin[r] = pass_.biases + block * columns;
      const T* panel = pass_.panels + block * layout.forward_panel();
      const T* const* begin = pass_.shape->split ? nullptr : tile.begin;
      if (pass_.shape->split) {
        multiply_panel<T>({tile.runs, 1, panel, columns, begin, input_ + block * stride, columns, 0}, tile.count,
                          layout.vectors());
        panel += layout.inputs * columns;
      }
      const int skipped = pass_.shape->split ? 1 : 0;
      multiply_panel<T>({tile.runs + skipped, 2 - skipped, panel, columns, begin, z_ + block * stride, columns, 0},
                        tile.count, layout.vectors());
    }
    RowProducts<T> products[kMostTileRows];
    for (int r = 0; r < tile.count; ++r) {
      products[r] = {input_ ? input_ + r * columns : nullptr, z_ + r * columns, stride, stride};
    }
    staged_.run(tile.pointers, tile.count, products);
  }

 private:
  const ForwardPass<T>& pass_;
  const Index size_;
  T *input_, *z_;
  StagedForward<T> staged_;
};

}  // namespace

template <class T>
Index step_scratch(const ForwardPass<T>& pass) {
  if (!pass.shape->staged) return 0;
  Arena arena{nullptr, 0};
  const StagedFrame<T> counted(pass, arena);
  return arena.used;
}

template <class T>
void step(const ForwardPass<T>& pass, const Frame<T>& frame) {
  if (frame.batch == 1 && pass.code->step) return pass.code->step(pass, frame);
  const Index tiles = ceil_div(frame.batch, kTileRows);
  for (Index n = 0, first = 0; n < tiles; ++n) {
    const Index last = frame.batch * (n + 1) / tiles;
    FrameTile<T> tile(pass, frame, first, last);
    if (pass.shape->staged) {
      Arena arena{frame.scratch, 0};
      StagedFrame<T>(pass, arena).run(frame, tile);
    } else {
      step_fused(pass, frame, tile);
    }
    first = last;
  }
}

template Index step_scratch(const ForwardPass<float>&);
template Index step_scratch(const ForwardPass<double>&);
template void step(const ForwardPass<float>&, const Frame<float>&);
template void step(const ForwardPass<double>&, const Frame<double>&);

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
