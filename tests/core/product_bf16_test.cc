// The matrix kernels in bfloat16 against plain loops over rounded operands. Compiled for the level v4_bf16.
#include <cmath>
#include <vector>

#include "../../csrc/pack_bf16.h"
#include "bfloat16_numbers.h"
#include "check.h"

namespace {

using namespace holdfast;
using namespace holdfast::HOLDFAST_LEVEL;

void try_rounding() {
  std::vector<float> from = {0, -0.0f, 1, -1, kNan, -kNan, kInfinity, -kInfinity, 1e-40f, -1e-40f, 3.4e38f, -3.4e38f};
  // Ties and their neighbours, a signalling NaN, what rounds to infinity, the least normal number and the one before.
  for (std::uint32_t bits : {0x3F808000u, 0x3F818000u, 0x3F808001u, 0x3F817FFFu, 0x7F800001u, 0x7F7F8000u, 0x00800000u,
                             0x007FFFFFu}) {
    from.push_back(float_of(bits));
  }
  Numbers numbers(1);
  for (int n = 0; n < 100000; ++n) from.push_back(float_of(numbers.word()));
  const Index n = static_cast<Index>(from.size());
  std::vector<Bfloat16> to(static_cast<std::size_t>(rounded_width(n)));
  round_row(from.data(), n, to.data());
  for (std::size_t k = 0; k < from.size(); ++k) CHECK(same(value_of(to[k]), rounded(from[k])));
}

// Zeros follow up to a whole vector, and nothing after them is written.
void try_rows_of_every_width() {
  Numbers numbers(2);
  for (Index n = 0; n <= 50; ++n) {
    const std::vector<float> from = numbers.any(n), other = numbers.any(n);
    std::vector<Bfloat16> to(100, kNanBits), pairs(200, kNanBits), lower(200, kNanBits);
    round_row(from.data(), n, to.data());
    pair_rows(from.data(), other.data(), n, pairs.data());
    pair_rows(from.data(), nullptr, n, lower.data());
    for (Index k = 0; k < 100; ++k) {
      const auto place = static_cast<std::size_t>(k);
      const bool written = k < rounded_width(n);
      const float own = k < n ? rounded(from[place]) : written ? 0 : kNan;
      const float others = k < n ? rounded(other[place]) : written ? 0 : kNan;
      CHECK(same(value_of(to[place]), own));
      CHECK(same(value_of(pairs[2 * place]), own) && same(value_of(pairs[2 * place + 1]), others));
      CHECK(same(value_of(lower[2 * place]), own) && same(value_of(lower[2 * place + 1]), written ? 0 : kNan));
    }
  }
}

// Rows [count, widths] in one piece each, every run of them rounded to an even length.
struct Rows {
  Index count;
  std::vector<Index> widths;
  std::vector<std::vector<float>> floats;           // of a run, [count, width]
  std::vector<std::vector<Bfloat16>> halves;        // of a run, [count, rounded_width]

  Rows(Numbers& numbers, Index row_count, const std::vector<Index>& run_widths, bool whole)
      : count(row_count), widths(run_widths) {
    for (Index width : widths) {
      floats.push_back(whole ? numbers.whole(count * width) : numbers.any(count * width));
      halves.emplace_back(static_cast<std::size_t>(count * rounded_width(width)));
      round(floats.size() - 1);
    }
  }

  void round(std::size_t run) {
    const Index width = widths[run];
    for (Index r = 0; r < count; ++r) {
      round_row(floats[run].data() + r * width, width, halves[run].data() + r * rounded_width(width));
    }
  }

  // The runs of the rows from `first` on.
  std::vector<Run<Bfloat16>> runs(Index first, int rows) const {
    std::vector<Run<Bfloat16>> made;
    for (std::size_t run = 0; run < widths.size(); ++run) {
      Run<Bfloat16> own{};
      for (int r = 0; r < rows; ++r) own.rows[r] = halves[run].data() + (first + r) * rounded_width(widths[run]);
      own.length = in_pairs(widths[run]);
      own.count = 1;
      made.push_back(own);
    }
    return made;
  }
};

// What the runs are multiplied by, each with an even number of rows.
struct Panel {
  Index columns;
  std::vector<std::vector<float>> floats;  // of a run, [width, columns]
  std::vector<Bfloat16> pairs;

  Panel(Numbers& numbers, const std::vector<Index>& widths, Index column_count, bool whole) : columns(column_count) {
    for (Index width : widths) {
      floats.push_back(whole ? numbers.whole(width * columns) : numbers.any(width * columns));
      std::vector<Bfloat16> own(static_cast<std::size_t>(in_pairs(width) * columns));
      pair_slots(floats.back().data(), width, columns, own.data());
      pairs.insert(pairs.end(), own.begin(), own.end());
    }
  }
};

struct Sum {
  double value, size;  // size: of the summands
};

Sum plain_product(const Rows& rows, const Panel& panel, Index r, Index column, float begin) {
  Sum sum = {begin, std::fabs(begin)};
  for (std::size_t run = 0; run < rows.widths.size(); ++run) {
    for (Index k = 0; k < rows.widths[run]; ++k) {
      const double product = double(rounded(rows.floats[run][static_cast<std::size_t>(r * rows.widths[run] + k)])) *
                             double(rounded(panel.floats[run][static_cast<std::size_t>(k * panel.columns + column)]));
      sum.value += product;
      sum.size += std::fabs(product);
    }
  }
  return sum;
}

// Each of n roundings is at most half of the last of 24 bits.
bool close(float got, const Sum& want, Index n) {
  return std::fabs(double(got) - want.value) <= want.size * double(n + 1) * 0x1p-24;
}

Index total(const std::vector<Index>& widths) {
  Index sum = 0;
  for (Index width : widths) sum += width;
  return sum;
}

void try_product(unsigned seed, int rows, int vectors, const std::vector<Index>& widths, bool whole, bool begins) {
  Numbers numbers(seed);
  const Index columns = Index{vectors} * kLanes<float>, stride = columns + 16;
  const Rows left(numbers, rows, widths, whole);
  const Panel panel(numbers, widths, columns, whole);
  const std::vector<float> bias = numbers.whole(rows * columns);
  std::vector<float> out(static_cast<std::size_t>(rows * stride), kNan), single(out.size(), kNan);
  const float* begin[kMostTileRows] = {};
  for (int r = 0; r < rows; ++r) begin[r] = bias.data() + r * columns;
  const std::vector<Run<Bfloat16>> runs = left.runs(0, rows);
  const int run_count = static_cast<int>(runs.size());
  multiply_panel({runs.data(), run_count, panel.pairs.data(), columns, begins ? begin : nullptr, out.data(), stride, 0},
                 rows, vectors);
  for (int r = 0; r < rows; ++r) {  // one row at a time, and one vector at a time: the same bits
    const std::vector<Run<Bfloat16>> own = left.runs(r, 1);
    for (int v = 0; v < vectors; ++v) {
      const Index column = Index{v} * kLanes<float>;
      kMultiplyPairs<Bfloat16>[0][0]({own.data(), run_count, panel.pairs.data(), columns, begins ? begin + r : nullptr,
                                      single.data() + r * stride, stride, column});
    }
    for (Index column = 0; column < stride; ++column) {
      const auto place = static_cast<std::size_t>(r * stride + column);
      CHECK(same(out[place], single[place]));
      if (column >= columns) {
        CHECK(std::isnan(out[place]));
        continue;
      }
      const Sum want = plain_product(left, panel, r, column, begins ? begin[r][column] : 0);
      CHECK(whole ? double(out[place]) == want.value : close(out[place], want, total(widths)));
    }
  }
}

void try_products() {
  const std::vector<std::vector<Index>> all = {{1},     {2},      {3},         {16}, {17},
                                               {5, 7},  {0, 4},   {33, 0, 31}, {64}, {129, 64, 1}};
  unsigned seed = 10;
  for (int rows = 1; rows <= kMostTileRows; ++rows) {
    for (int vectors : {1, 2, 3, 4, 6, 8}) {
      for (const std::vector<Index>& widths : all) {
        for (bool whole : {true, false}) {
          for (bool begins : {true, false}) try_product(++seed, rows, vectors, widths, whole, begins);
        }
      }
    }
  }
}

// The gates of some blocks, one run of several parts.
void try_parts() {
  Numbers numbers(3);
  constexpr Index kParts = 5, kLength = 48, kStride = 200, kColumns = 32;
  const std::vector<float> left = numbers.whole(3 * kParts * kLength);
  const std::vector<float> panel = numbers.whole(kParts * kLength * kColumns);
  std::vector<Bfloat16> rows(static_cast<std::size_t>(kParts * kStride), kNanBits);
  std::vector<Bfloat16> pairs(static_cast<std::size_t>(kParts * kLength * kColumns));
  pair_slots(panel.data(), kParts * kLength, kColumns, pairs.data());
  Run<Bfloat16> run{};
  for (Index part = 0; part < kParts; ++part) {
    for (Index r = 0; r < 3; ++r) {
      round_row(left.data() + (r * kParts + part) * kLength, kLength, rows.data() + part * kStride + r * kLength);
      run.rows[r] = rows.data() + r * kLength;
    }
  }
  run.length = kLength;
  run.count = kParts;
  run.stride = kStride;
  float out[3 * kColumns];
  multiply_panel({&run, 1, pairs.data(), kColumns, nullptr, out, kColumns, 0}, 3, 2);
  for (Index r = 0; r < 3; ++r) {
    for (Index column = 0; column < kColumns; ++column) {
      float want = 0;
      for (Index k = 0; k < kParts * kLength; ++k) {
        want += left[static_cast<std::size_t>(r * kParts * kLength + k)] *
                panel[static_cast<std::size_t>(k * kColumns + column)];
      }
      CHECK(out[r * kColumns + column] == want);
    }
  }
}

// What is not finite reaches its own row alone; subnormal numbers count as zeros.
void try_special_values() {
  Numbers numbers(4);
  const std::vector<Index> widths = {9};
  Rows left(numbers, 4, widths, true);
  const Panel panel(numbers, widths, 16, true);
  std::vector<float>& x = left.floats[0];
  x[3] = kNan;
  x[9 + 4] = kInfinity;
  for (std::size_t k = 18; k < 27; ++k) x[k] = 1e-39f;
  left.round(0);
  const std::vector<Run<Bfloat16>> runs = left.runs(0, 4);
  float out[4 * 16];
  multiply_panel({runs.data(), 1, panel.pairs.data(), 16, nullptr, out, 16, 0}, 4, 1);
  for (Index column = 0; column < 16; ++column) {
    const float meets = panel.floats[0][static_cast<std::size_t>(4 * 16 + column)];
    CHECK(std::isnan(out[column]));
    CHECK(same(out[16 + column], kInfinity * meets));
    CHECK(out[32 + column] == 0);
    CHECK(double(out[48 + column]) == plain_product(left, panel, 3, column, 0).value);
  }
}

// Slots whose halves of a pair nobody has written hold NaN.
void try_outer(unsigned seed, int columns, int vectors, Index count, bool whole) {
  Numbers numbers(seed);
  const Index width = Index{vectors} * kLanes<float>;
  const std::vector<float> reads = numbers.any(count * columns), gates = numbers.any(count * width);
  const std::vector<float> whole_reads = numbers.whole(count * columns), whole_gates = numbers.whole(count * width);
  const std::vector<float>&x = whole ? whole_reads : reads, &d = whole ? whole_gates : gates;
  std::vector<Bfloat16> left(static_cast<std::size_t>(in_pairs(count) * kMostTileRows), kNanBits);
  std::vector<Bfloat16> right(static_cast<std::size_t>(in_pairs(count) * width));
  for (Index n = 0; n < count; ++n) keep_column_pairs(x.data() + n * columns, columns, 0, n, 0, left.data());
  pair_slots(d.data(), count, width, right.data());
  std::vector<float> tile(static_cast<std::size_t>(columns * width), kNan);
  const Outer<Bfloat16> outer = {left.data(), 2 * kMostTileRows, right.data(), width, count, tile.data(), true};
  add_outer_panel(outer, columns, vectors);
  for (int calls = 1; calls <= 2; ++calls) {
    for (Index j = 0; j < columns; ++j) {
      for (Index column = 0; column < width; ++column) {
        Sum want = {0, 0};
        for (Index n = 0; n < count; ++n) {
          const double product = double(rounded(x[static_cast<std::size_t>(n * columns + j)])) *
                                 double(rounded(d[static_cast<std::size_t>(n * width + column)]));
          want = {want.value + product, want.size + std::fabs(product)};
        }
        const float got = tile[static_cast<std::size_t>(j * width + column)] / float(calls);
        CHECK(whole ? double(got) == want.value : close(got, want, count));
      }
    }
    Outer<Bfloat16> more = outer;
    more.first = false;
    if (calls == 1) add_outer_panel(more, columns, vectors);
  }
}

void try_outers() {
  unsigned seed = 1000;
  for (int columns = 1; columns <= kMostTileRows; ++columns) {
    for (int vectors : {1, 2, 3, 4, 6, 8}) {
      for (Index count : {1, 2, 3, 8, 31}) {
        for (bool whole : {true, false}) try_outer(++seed, columns, vectors, count, whole);
      }
    }
  }
}

// Every column lies in its group, beside what the neighbouring slot reads.
void try_keeping() {
  Numbers numbers(5);
  constexpr Index kSlots = 6, kGroup = kSlots * kMostTileRows;
  for (Index width = 1; width <= 40; ++width) {
    for (Index column : {Index{0}, Index{4}, Index{6}, Index{13}}) {
      std::vector<Bfloat16> left(static_cast<std::size_t>(kGroup * ((column + width) / kMostTileRows + 1)), kNanBits);
      const std::vector<float> even = numbers.whole(width), odd = numbers.whole(width);
      keep_column_pairs(even.data(), width, column, 2, kGroup, left.data());
      keep_column_pairs(odd.data(), width, column, 3, kGroup, left.data());
      Index written = 0;
      for (const Bfloat16& x : left) written += !std::isnan(value_of(x));
      CHECK(written == 2 * width);
      for (Index k = 0; k < width; ++k) {
        const Index group = (column + k) / kMostTileRows, within = (column + k) % kMostTileRows;
        const Index place = group * kGroup + 2 * (kMostTileRows + within);
        CHECK(value_of(left[static_cast<std::size_t>(place)]) == even[static_cast<std::size_t>(k)]);
        CHECK(value_of(left[static_cast<std::size_t>(place + 1)]) == odd[static_cast<std::size_t>(k)]);
      }
    }
  }
}

Layout layout_of(int gates, Index hidden) {
  Layout layout{};
  layout.hidden = hidden;
  layout.gates = gates;
  layout.lanes = kLanes<float>;
  layout.group = group_of(gates);
  return layout;
}

// Where gate column `column` of a block comes from: a row of the weights, or -1.
Index row_of(const Layout& layout, Index block, Index column) {
  const Index unit = block * layout.units() + column % layout.units();
  return unit < layout.hidden ? column / layout.units() * layout.hidden + unit : -1;
}

void try_forward_panels(int gates, Index hidden, Index width) {
  Numbers numbers(6);
  const Layout layout = layout_of(gates, hidden);
  const Index columns = layout.columns();
  const std::vector<float> matrix = numbers.any(gates * hidden * width);
  for (Index block = 0; block < layout.blocks(); ++block) {
    std::vector<Bfloat16> panel(static_cast<std::size_t>(in_pairs(width) * columns + 1), kNanBits);
    pack_transposed(layout, matrix.data(), width, block, panel.data());
    for (Index k = 0; k < in_pairs(width); ++k) {
      for (Index column = 0; column < columns; ++column) {
        const Index row = row_of(layout, block, column);
        const float want = row >= 0 && k < width ? rounded(matrix[static_cast<std::size_t>(row * width + k)]) : 0;
        CHECK(same(value_of(panel[static_cast<std::size_t>(k / 2 * 2 * columns + 2 * column + k % 2)]), want));
      }
    }
  }
}

void try_backward_panels(int gates, Index hidden, Index width) {
  Numbers numbers(7);
  const Layout layout = layout_of(gates, hidden);
  const std::vector<float> matrix = numbers.any(gates * hidden * width);
  std::vector<Bfloat16> panels(static_cast<std::size_t>(layout.backward_size(width) + 1), kNanBits);
  Workers workers{};
  workers.count = 2;
  for (int worker : {1, 0}) pack_backward(layout, workers, worker, matrix.data(), width, panels.data());
  for (Index panel = 0; panel < layout.backward_panels(width); ++panel) {
    const Index columns = Index{layout.backward_vectors(width, panel)} * layout.lanes;
    const Bfloat16* own = panels.data() + panel * layout.gate_columns() * layout.backward_columns();
    for (Index gate = 0; gate < layout.gate_columns(); ++gate) {
      const Index row = row_of(layout, gate / layout.columns(), gate % layout.columns());
      for (Index k = 0; k < columns; ++k) {
        const Index column = panel * layout.backward_columns() + k;
        const bool there = row >= 0 && column < width;
        const float want = there ? rounded(matrix[static_cast<std::size_t>(row * width + column)]) : 0;
        CHECK(same(value_of(own[gate / 2 * 2 * columns + 2 * k + gate % 2]), want));
      }
    }
  }
}

void try_packing() {
  for (int gates : {1, 2, 3, 4, 8}) {
    for (Index hidden : {1, 16, 21, 64, 67}) {
      for (Index width : {0, 1, 2, 15, 16, 17, 64, 83}) {
        try_forward_panels(gates, hidden, width);
        try_backward_panels(gates, hidden, width);
      }
    }
  }
}

}  // namespace

int main() {
  try_rounding();
  try_rows_of_every_width();
  try_products();
  try_parts();
  try_special_values();
  try_outers();
  try_keeping();
  try_packing();
  if (failures != 0) std::printf("%d checks failed\n", failures.load());
  return failures != 0;
}
