// The cells of a pyramid that a box holds, found by a warp and visited by a team of threads.
#pragma once

#include "../core/box.h"
#include "../core/cell_line.h"
#include "../core/top_k_params.h"
#include "cuda.h"

namespace pseudo_iou_ops {

// The threads that visit the cells of a box together: a warp, or a whole block.
struct Team {
  int thread, size;
};

// The cells from begin to before end of one axis of one level. Lane 2 l has the columns of level l, lane
// 2 l + 1 its rows.
struct AxisCells {
  int begin, end;
};

// Those whose points lie inside a box, farther than a margin from each side, or all; none of them padding.
PIOU_DEVICE AxisCells axis_cells(const TopKParams& params, int64_t image, const Box& box, float margin,
                                 bool everywhere) {
  static_assert(2 * kMaxLevels <= 32, "a lane for each axis of each level");
  const int lane = static_cast<int>(threadIdx.x) % 32, level = lane / 2;
  const bool is_row = lane % 2 == 1;
  if (level >= params.num_levels) return {0, 0};
  const CellLine line = valid_line(params, image, level, is_row);
  if (everywhere) return {0, line.count};
  const float low = is_row ? box.y1 : box.x1, high = is_row ? box.y2 : box.x2;
  return {line.first_where([=](float x) { return x - low > margin; }),
          line.first_where([=](float x) { return !(high - x > margin); })};
}

// Whether a level has more than so many of the cells.
PIOU_DEVICE bool has_level_of_more(const AxisCells& cells, int count) {
  const int length = cells.end > cells.begin ? cells.end - cells.begin : 0;
  const int other = __shfl_xor_sync(kWholeWarp, length, 1);
  return __ballot_sync(kWholeWarp, static_cast<int64_t>(length) * other > count) != 0;
}

struct Cell {
  int level, row, column;
};

// Calls visit(cell, is_cell) for this thread's share of the cells, in the order of the points. All lanes of a
// warp call it equally often, some of them without a cell.
template <class Visit>
PIOU_DEVICE void visit_cells(int num_levels, const AxisCells& cells, const Team& team, const Visit& visit) {
  const int lane = team.thread % 32;
  for (int level = 0; level < num_levels; ++level) {
    const int first_column = __shfl_sync(kWholeWarp, cells.begin, 2 * level);
    const int first_row = __shfl_sync(kWholeWarp, cells.begin, 2 * level + 1);
    const int columns = __shfl_sync(kWholeWarp, cells.end, 2 * level) - first_column;
    const int rows = __shfl_sync(kWholeWarp, cells.end, 2 * level + 1) - first_row;
    if (columns <= 0 || rows <= 0) continue;
    const int count = rows * columns, row_step = team.size / columns, column_step = team.size % columns;
    int row = team.thread / columns, column = team.thread % columns;
    for (int first = team.thread - lane; first < count; first += team.size) {
      visit(Cell{level, first_row + row, first_column + column}, first + lane < count);
      row += row_step;
      column += column_step;
      if (column >= columns) {
        column -= columns;
        ++row;
      }
    }
  }
}

}  // namespace pseudo_iou_ops
