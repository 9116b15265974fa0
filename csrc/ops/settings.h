// The numbers of a call as Python hands them over, and how they become what the kernels read.
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
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
                       double offset, CallParams& params) {
  params.offset = static_cast<float>(offset);
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

// Sets the ranges of the levels, from low0, high0, ... or nothing. Open bounds become the closed ones between
// the neighbouring floats, which hold the same numbers.
inline void set_ranges(const std::vector<double>& ranges, bool are_open, CallParams& params) {
  for (int index = 0; index < params.num_levels; ++index) {
    Level& level = params.levels[index];
    level.low = ranges.empty() ? -kInfinity : static_cast<float>(ranges[2 * index]);
    level.high = ranges.empty() ? kInfinity : static_cast<float>(ranges[2 * index + 1]);
    if (are_open && !ranges.empty()) {
      level.low = std::nextafter(level.low, kInfinity);
      level.high = std::nextafter(level.high, -kInfinity);
    }
  }
}

// In the order of the schema in library.cpp.
inline Rule make_rule(int64_t metric, double threshold, std::optional<double> ignore_threshold,
                      bool inclusive, int64_t order, int64_t resolve, bool normalize_by_stride) {
  return {static_cast<Metric>(metric),
          static_cast<Order>(order),
          static_cast<Resolve>(resolve),
          static_cast<float>(threshold),
          static_cast<float>(ignore_threshold.value_or(0.0)),
          ignore_threshold.has_value(),
          inclusive,
          normalize_by_stride};
}

}  // namespace pseudo_iou_ops
