// The cells of a level along one axis, found from the coordinates of their points.
#pragma once

#include "assign_params.h"

namespace pseudo_iou_ops {

// The cells of one axis of a level that are not padding.
struct CellLine {
  int count;
  float offset, stride;

  PIOU_HOST_DEVICE float coordinate(int cell) const { return point_coordinate(cell, offset, stride); }

  // The first cell for whose coordinate is_there holds; count if there is none. It holds for all that come
  // after one for which it does.
  template <class IsThere>
  PIOU_HOST_DEVICE int first_where(const IsThere& is_there) const {
    int low = 0, high = count;
    while (low < high) {
      const int middle = low + (high - low) / 2;
      if (is_there(coordinate(middle))) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }

  // The first cell whose point is not below a coordinate. Not a number: all are below.
  PIOU_HOST_DEVICE int first_not_below(float limit) const {
    return first_where([=](float x) { return x >= limit; });
  }
};

// The columns or the rows of a level, short of the image's padding. A size that is not a number has none: a
// comparison with it is never true.
PIOU_HOST_DEVICE CellLine valid_line(const CallParams& params, int64_t image, int index, bool is_row) {
  const Level& level = params.levels[index];
  CellLine line{is_row ? level.height : level.width, params.offset, level.stride};
  if (params.valid_sizes == nullptr) return line;
  const float size = params.valid_sizes[2 * image + (is_row ? 0 : 1)];
  if (size == size) line.count = line.first_not_below(size);
  return line;
}

}  // namespace pseudo_iou_ops
