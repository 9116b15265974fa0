// Everything one call of the box losses hands to a kernel: plain numbers and pointers.
#pragma once

#include "head.h"
#include "ltrb_loss.h"

namespace pseudo_iou_ops {

struct LtrbLossParams {
  Head head;                // of distances, four channels
  const float* targets;     // (images, points, 4)
  const int64_t* labels;    // (images, points) or null: all points count
  const float* weights;     // (images, points) or null: 1
  const float* normalizer;  // or null: 1
  LtrbLoss kind;
};

}  // namespace pseudo_iou_ops
