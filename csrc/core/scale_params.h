// The gradients a backward pass multiplies in place by a number that only the device knows.
#pragma once

#include "level.h"

namespace pseudo_iou_ops {

struct ScaledValues {
  void* values;
  int64_t count;
};

struct ScaleParams {
  ScaledValues parts[kMaxLevels];
  int num_parts;
  const void* factor;  // float32, or float64 of float64 values
};

}  // namespace pseudo_iou_ops
