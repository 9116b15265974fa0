// Everything one call of the classification losses hands to a kernel: plain numbers and pointers.
#pragma once

#include "head.h"

namespace pseudo_iou_ops {

struct ClassLossParams {
  Head head;                // of logits, a channel a class
  const int64_t* labels;    // (images, points)
  const float* targets;     // (images, points), at the matched class; or null: 1
  const float* normalizer;  // or null: 1
  double negative_weight, matched_weight, exponent;
  bool class_agnostic;  // every class counts as class 0
};

// What a label asks of the logits of its point.
struct PointLabel {
  int64_t match;  // the matched class, or -1
  bool is_ignored;
};

// -1 and classes past the last are background, as -1 here and C elsewhere stand for it; below -1 is ignored.
PIOU_HOST_DEVICE PointLabel point_label(const ClassLossParams& params, int64_t label) {
  if (label >= 0 && params.class_agnostic) label = 0;
  return {label >= 0 && label < params.head.num_channels ? label : -1, label < -1};
}

PIOU_HOST_DEVICE float target_at(const ClassLossParams& params, int64_t point) {
  return params.targets != nullptr ? params.targets[point] : 1.0f;
}

}  // namespace pseudo_iou_ops
