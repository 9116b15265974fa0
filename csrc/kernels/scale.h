// The gradients a backward pass multiplies in place by a number that only the device knows.
#pragma once

#include "../core/level.h"
#include "../core/reduced_precision.h"

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

// On a CPU.
template <class T>
PIOU_MULTIVERSION void scale_values(T* values, int64_t count, Compute<T> factor) {
  for (int64_t i = 0; i < count; ++i) values[i] = narrow<T>(widen(values[i]) * factor);
}

}  // namespace pseudo_iou_ops
