// Sums in an order that depends on the number of values alone: not on threads, nor on the instruction set.
#pragma once

#include <cstdint>

#include "../core/macros.h"
#include "multiversion.h"

namespace pseudo_iou_ops {

constexpr int kSumLanes = 16;  // of the widest vector of float32

// Value i is added to lane i mod kSumLanes, then the lanes are added up.
template <class Real>
PIOU_MULTIVERSION Real sum_in_lanes(const Real* PIOU_RESTRICT values, int64_t count) {
  Real lanes[kSumLanes] = {};
  int64_t first = 0;
  for (; first + kSumLanes <= count; first += kSumLanes) {
    for (int lane = 0; lane < kSumLanes; ++lane) lanes[lane] += values[first + lane];
  }
  for (; first < count; ++first) lanes[first % kSumLanes] += values[first];
  for (int half = kSumLanes / 2; half > 0; half /= 2) {
    for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

}  // namespace pseudo_iou_ops
