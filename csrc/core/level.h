// One level of the feature pyramid.
#pragma once

#include <cstdint>

#include "macros.h"

namespace pseudo_iou_ops {

constexpr int kMaxLevels = 16;  // as in pseudo_iou_ops/_checks.py

struct Level {
  int height, width;
  int64_t first_point;  // of this level among the points of an image
  float stride;
  float low, high;  // in range: low <= max(l, t, r, b) <= high. Open bounds are moved to the next float
};

PIOU_HOST_DEVICE int64_t divide_up(int64_t count, int64_t size) { return (count + size - 1) / size; }

// The coordinate of a cell's point, in pixels.
PIOU_HOST_DEVICE float point_coordinate(int cell, float offset, float stride) {
  return (static_cast<float>(cell) + offset) * stride;
}

}  // namespace pseudo_iou_ops
