// Sums in an order that depends on the number of values alone: not on threads, nor on the instruction set.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../core/macros.h"

namespace pseudo_iou_ops {

// Adds the upper half to the lower one until one value is left. Overwrites the values.
template <class Real>
Real pairwise_sum(Real* values, int64_t count) {
  if (count == 0) return 0;
  while (count > 1) {
    const int64_t half = (count + 1) / 2;
    Real* PIOU_RESTRICT lower = values;
    const Real* PIOU_RESTRICT upper = values + half;
    for (int64_t i = 0; i < count - half; ++i) lower[i] += upper[i];
    count = half;
  }
  return values[0];
}

}  // namespace pseudo_iou_ops
