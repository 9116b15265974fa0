// Multiplies values by a number, in place.
#pragma once

#include "../core/reduced_precision.h"
#include "multiversion.h"

namespace pseudo_iou_ops {

template <class T>
PIOU_MULTIVERSION void scale_values(T* values, int64_t count, Compute<T> factor) {
  for (int64_t i = 0; i < count; ++i) values[i] = narrow<T>(widen(values[i]) * factor);
}

}  // namespace pseudo_iou_ops
