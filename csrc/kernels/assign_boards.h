// How the points of a task choose their boxes. A Board makes room for so many points (`resize`), forgets what
// some of them chose (`clear`) and lets them choose among boxes (`visit`). Then `row` is the row of a point's
// box within the image, negative if it has none, and `is_in_ignore_band` says whether a box that did not pass
// leaves it there.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "../core/candidates.h"
#include "grid_axis.h"

namespace pseudo_iou_ops {

// A box, and the cells of the task whose points it holds no farther than the range's high end from any side.
// Those of them that are nearer than the low end to every side form a hole.
struct Visit {
  Box box;
  int row;  // of the box, within the image
  Cells rows, columns;
  Cells hole_rows, hole_columns;
};

// Where the area alone decides, by the painter's algorithm: boxes are painted from the largest to the
// smallest, and what is seen at the end is the choice.
class PaintedBoard {
 public:
  void resize(size_t points) {
    if (points > rows_.size()) rows_.resize(points);
  }

  void clear(int64_t first_point, int64_t points) { std::fill_n(rows_.begin() + first_point, points, -1); }

  void visit(const Rule&, const Grid& grid, const std::vector<Visit>& visits) {
    sort(visits);
    for (uint64_t key : order_) {
      const Visit& visit = visits[~static_cast<uint32_t>(key)];
      for (int row = visit.rows.begin; row < visit.rows.end; ++row) {
        int* PIOU_RESTRICT cells = rows_.data() + grid.row_start(row);
        if (row >= visit.hole_rows.begin && row < visit.hole_rows.end) {
          paint(cells, {visit.columns.begin, visit.hole_columns.begin}, visit.row);
          paint(cells, {visit.hole_columns.end, visit.columns.end}, visit.row);
        } else {
          paint(cells, visit.columns, visit.row);
        }
      }
    }
  }

  int row(int64_t point) const { return rows_[point]; }
  bool is_in_ignore_band(int64_t) const { return false; }

 private:
  // The largest area comes first, and of equal areas the lowest row last. Areas are positive, so their bits
  // have the same order.
  void sort(const std::vector<Visit>& visits) {
    order_.clear();
    for (uint32_t index = 0; index < visits.size(); ++index) {
      const float box_area = area(visits[index].box);
      uint32_t bits;
      std::memcpy(&bits, &box_area, sizeof(bits));
      order_.push_back(static_cast<uint64_t>(~bits) << 32 | ~index);
    }
    std::sort(order_.begin(), order_.end());
  }

  static void paint(int* PIOU_RESTRICT cells, Cells columns, int row) {
    for (int column = columns.begin; column < columns.end; ++column) cells[column] = row;
  }

  std::vector<int> rows_;
  std::vector<uint64_t> order_;
};

// Where every candidate has to be judged: each box is offered to the points that it holds.
class JudgeBoard {
 public:
  void resize(size_t points) {
    if (points > choices_.size()) choices_.resize(points);
  }

  void clear(int64_t first_point, int64_t points) {
    std::fill_n(choices_.begin() + first_point, points, Choice());
  }

  void visit(const Rule& rule, const Grid& grid, const std::vector<Visit>& visits) {
    for (const Visit& visit : visits) {
      for (int row = visit.rows.begin; row < visit.rows.end; ++row) {
        const float y = grid.y_axis.coordinate(row);
        for (int column = visit.columns.begin; column < visit.columns.end; ++column) {
          const float x = grid.x_axis.coordinate(column);
          const Distances d = distances(visit.box, x, y);
          if (!in_range(grid.level, longest(d))) continue;
          offer(choices_[grid.row_start(row) + column], rule, {grid.level.stride, visit.box, x, y, d},
                visit.row);
        }
      }
    }
  }

  int row(int64_t point) const { return choices_[point].row; }
  bool is_in_ignore_band(int64_t point) const { return choices_[point].in_ignore_band; }

 private:
  std::vector<Choice> choices_;
};

}  // namespace pseudo_iou_ops
