// The cells of a level, and which of them a box holds: found from the points' own coordinates.
#pragma once

#include <algorithm>

#include "../core/level.h"

namespace pseudo_iou_ops {

// The cells from begin to before end, along one axis.
struct Cells {
  int begin, end;
};

// The points of a level along one axis. Their coordinates never fall, so every comparison with a coordinate
// splits the cells in two; the division only guesses where, and the coordinates themselves decide.
class Axis {
 public:
  Axis() = default;
  Axis(int count, float offset, float stride)
      : count_(count), offset_(offset), stride_(stride), cells_per_pixel_(1.0 / stride) {}

  float coordinate(int cell) const { return point_coordinate(cell, offset_, stride_); }

  // The cells whose points lie strictly between low and high, and no farther than `reach` from either.
  Cells between(float low, float high, float reach) const {
    int begin = split(low, [=](float x) { return !(x > low); });
    int end = split(high, [=](float x) { return x < high; });
    if (high - low > reach) {
      begin = std::max(begin, split(high - reach, [=](float x) { return !(high - x <= reach); }));
      end = std::min(end, split(low + reach, [=](float x) { return x - low <= reach; }));
    }
    return {begin, std::max(begin, end)};
  }

  // The cells whose points lie less than `distance` from both low and high.
  Cells near_both(float low, float high, float distance) const {
    const int begin = split(high - distance, [=](float x) { return !(high - x < distance); });
    const int end = split(low + distance, [=](float x) { return x - low < distance; });
    return {begin, std::max(begin, end)};
  }

 private:
  // The first cell for whose point is_before does not hold; it holds for all cells before it.
  template <class IsBefore>
  int split(float coordinate_there, const IsBefore& is_before) const {
    int cell = guess(coordinate_there);
    while (cell > 0 && !is_before(coordinate(cell - 1))) --cell;
    while (cell < count_ && is_before(coordinate(cell))) ++cell;
    return cell;
  }

  // The first cell at or past a coordinate, give or take rounding.
  int guess(float coordinate) const {
    const double cell = coordinate * cells_per_pixel_ - offset_;
    const double within = std::min(std::max(cell, 0.0), static_cast<double>(count_));
    const int whole = static_cast<int>(within);
    return whole + (whole < within);
  }

  int count_ = 0;
  float offset_ = 0.0f, stride_ = 1.0f;
  double cells_per_pixel_ = 1.0;
};

// The cells of a task, which are whole rows of a level.
struct Grid {
  Level level;
  Axis x_axis, y_axis;
  int first_row, last_row;

  // The position of a row's first point among the points of the task.
  int64_t row_start(int row) const { return static_cast<int64_t>(row - first_row) * level.width; }
  int64_t num_points() const { return row_start(last_row); }
};

}  // namespace pseudo_iou_ops
