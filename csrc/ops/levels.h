// The levels of a call as Python hands them over, and how they become what the kernels read.
#pragma once

#include <cstdint>
#include <vector>

#include "../core/assign_params.h"

namespace pseudo_iou_ops {

// Points of an image, from H0, W0, H1, W1, ...
inline int64_t count_points(const std::vector<int64_t>& level_shapes) {
  int64_t points = 0;
  for (size_t index = 0; index + 1 < level_shapes.size(); index += 2) {
    points += level_shapes[index] * level_shapes[index + 1];
  }
  return points;
}

// Sets the levels, short of their ranges, and the number of points.
inline void set_levels(const std::vector<int64_t>& level_shapes, const std::vector<double>& strides,
                       CallParams& params) {
  params.num_levels = static_cast<int>(strides.size());
  params.num_points = 0;
  for (int index = 0; index < params.num_levels; ++index) {
    Level& level = params.levels[index];
    level.height = static_cast<int>(level_shapes[2 * index]);
    level.width = static_cast<int>(level_shapes[2 * index + 1]);
    level.first_point = params.num_points;
    level.stride = static_cast<float>(strides[index]);
    params.num_points += static_cast<int64_t>(level.height) * level.width;
  }
}

}  // namespace pseudo_iou_ops
