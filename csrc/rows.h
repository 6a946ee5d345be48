// The rows that a worker has at a step: where their state comes from, their masks, what enters weight_hh, their tiles.
// Included by the sources of a level only.
#pragma once

#include "direction.h"
#include "generated/cells.h"
#include "philox.h"
#include "product.h"

namespace holdfast {
namespace HOLDFAST_LEVEL {

// What a worker has of a direction.
struct Share {
  int worker;
  bool all_rows;
  Index most_rows;
  Index first_block, last_block;  // of units
};

template <class T>
Share share_of(const Pass<T>& pass, int worker) {
  const Workers& workers = pass.workers;
  const Index blocks = pass.layout.blocks(), batch = pass.schedule.batch;
  if (!workers.share_rows) return {worker, false, workers.most_rows, 0, blocks};
  return {worker, true, batch, workers.part(blocks, worker), workers.part(blocks, worker + 1)};
}

// Scratch memory, taken piece by piece; counting only where there is none yet.
struct Arena {
  char* base;
  Index used;

  template <class U>
  HOLDFAST_INLINE U* take(Index n) {
    U* taken = base ? reinterpret_cast<U*>(base + used) : nullptr;
    used += round_up(n * static_cast<Index>(sizeof(U)), kAlignment);
    return taken;
  }
};

// The rows of a step in tiles of about equal size.
template <class T>
struct Tile {
  int count;
  const TileRow<T>* const* rows;
};

template <class T>
struct StepRows {
  Index count, tile_count;
  TileRow<T>* rows;        // [most]
  const TileRow<T>** pointers;
  Tile<T>* tiles;
  const T** entering;      // [most], what enters weight_hh
  T* masks[kMostMasks];    // [most, mask_width]
  T* entering_masks;       // [most by place, mask_width]
  T* entered;              // [most, mask_width]
  Index* drawn;            // [most by place], the step that the entering mask was drawn for
  Index mask_width;

  StepRows(const Pass<T>& pass, Index most, Arena& arena) : count(0), tile_count(0) {
    const Index width = pass.layout.width > pass.layout.padded() ? pass.layout.width : pass.layout.padded();
    mask_width = width + kVectorBytes;
    rows = arena.take<TileRow<T>>(most);
    pointers = arena.take<const TileRow<T>*>(most);
    tiles = arena.take<Tile<T>>(most);
    entering = arena.take<const T*>(most);
    for (int k = 0; k < kMostMasks; ++k) {
      masks[k] = pass.draws[k].threshold ? arena.take<T>(most * mask_width) : nullptr;
    }
    const bool drops = pass.entering.threshold != 0;
    entering_masks = drops ? arena.take<T>(most * mask_width) : nullptr;
    entered = drops ? arena.take<T>(most * mask_width) : nullptr;
    drawn = drops ? arena.take<Index>(most) : nullptr;
    if (drawn) {  // else the arena only counts
      for (Index b = 0; b < most; ++b) drawn[b] = -1;
    }
  }

  void find(const Pass<T>& pass, const Share& share, const Span<T>& span, const Strided<const T>* states, Index t);

 private:
  void place_row(const Pass<T>& pass, const Share& share, const Span<T>& span, const Strided<const T>* states, Index t,
                 Index b);
  void draw_masks(const Pass<T>& pass, const Share& share, TileRow<T>& row, Index t, Index b);
  const T* drop_entering(const Pass<T>& pass, const T* h, Index t, Index b);
  void make_tiles();
};

template <class T>
HOLDFAST_INLINE bool restarts(const Pass<T>& pass, Index t, Index b) {
  const Schedule& schedule = pass.schedule;
  if (!schedule.begins) return false;
  if (!pass.reverse) return schedule.begins[t * schedule.batch + b];
  return t + 1 < schedule.length(b) && schedule.begins[(t + 1) * schedule.batch + b];
}

// Fills in what both passes need of the rows at step t: `old`, masks, `entering`, places and the tiles.
template <class T>
void StepRows<T>::find(const Pass<T>& pass, const Share& share, const Span<T>& span, const Strided<const T>* states,
                       Index t) {
  const std::int32_t* list = pass.schedule.at(t);
  const Index present = pass.schedule.count(t);
  count = 0;
  for (Index n = 0; n < present; ++n) {
    if (!share.all_rows && pass.workers.owners[list[n]] != share.worker) continue;
    rows[count].order = n;
    place_row(pass, share, span, states, t, list[n]);
  }
  make_tiles();
}

template <class T>
void StepRows<T>::place_row(const Pass<T>& pass, const Share& share, const Span<T>& span,
                            const Strided<const T>* states, Index t, Index b) {
  const Schedule& schedule = pass.schedule;
  TileRow<T>& row = rows[count];
  const Index before = pass.reverse ? t + 1 : t - 1;
  const bool begins = pass.reverse ? before >= schedule.length(b) : t == 0;
  const bool from_span = t == pass.time(span.begin) && span.begin > 0;
  row.batch = b;
  row.at = t * schedule.batch + b;
  row.place = row.at - span.kept_from * schedule.batch;
  row.restarts = restarts(pass, t, b);
  row.copy = nullptr;
  for (int s = 0; s < pass.shape->states; ++s) {
    const Index width = pass.state_width(s);
    row.old[s] = row.restarts ? pass.start[s]
                 : begins     ? pass.initial[s] + b * pass.initial_row[s]
                 : from_span  ? span.before[s] + b * width
                              : states[s].base + (before - span.kept_from) * states[s].step + b * states[s].row;
  }
  draw_masks(pass, share, row, t, b);
  entering[count] = entered ? drop_entering(pass, row.old[0], t, b) : row.old[0];
  pointers[count] = &row;
  ++count;
}

template <class T>
void StepRows<T>::draw_masks(const Pass<T>& pass, const Share& share, TileRow<T>& row, Index t, Index b) {
  const Index units = pass.layout.units();
  for (int k = 0; k < kMostMasks; ++k) {
    row.masks[k] = pass.zeros;
    if (!masks[k]) continue;
    Index first = 0, last = pass.shape->narrow_masks >> k & 1 ? pass.layout.width : pass.layout.hidden;
    if (!pass.shape->staged) {
      first = share.first_block * units / kWordsOfCounter * kWordsOfCounter;
      last = share.last_block * units;
    }
    T* to = masks[k] + count * mask_width;
    draw(to, first, last, pass.draws[k].threshold,
         {pass.seed, static_cast<std::uint32_t>(b), static_cast<std::uint32_t>(t),
          pass.place * kWordsOfCounter + pass.draws[k].stream});
    row.masks[k] = to;
  }
}

template <class T>
const T* StepRows<T>::drop_entering(const Pass<T>& pass, const T* h, Index t, Index b) {
  const Index began = pass.schedule.began ? pass.schedule.began[t * pass.schedule.batch + b] : 0;
  const Index own = pass.workers.places[b], width = pass.layout.width;
  T* mask = entering_masks + own * mask_width;
  if (drawn[own] != began) {
    draw(mask, 0, width, pass.entering.threshold,
         {pass.seed, static_cast<std::uint32_t>(b), static_cast<std::uint32_t>(began),
          pass.place * kWordsOfCounter + pass.entering.stream});
    drawn[own] = began;
  }
  T* to = entered + count * mask_width;
  const Vec<T> scale = broadcast<T>(pass.entering_scale);
  for (Index unit = 0; unit < width; unit += kLanes<T>) {
    const int n = width - unit < kLanes<T> ? static_cast<int>(width - unit) : kLanes<T>;
    const Vec<T> value = n == kLanes<T> ? load(h + unit) : load(h + unit, n);
    store(to + unit, HOLDFAST_LEVEL::entering::forward(value, scale, load(mask + unit) != Vec<T>{}));
  }
  return to;
}

template <class T>
void StepRows<T>::make_tiles() {
  tile_count = ceil_div(count, kTileRows);
  for (Index n = 0, first = 0; n < tile_count; ++n) {
    const Index last = count * (n + 1) / tile_count;
    tiles[n].count = static_cast<int>(last - first);
    tiles[n].rows = pointers + first;
    first = last;
  }
}

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
