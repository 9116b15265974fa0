// SimOTA (Ge et al., "YOLOX", 2021): which points are a box's own, and what a point costs it.
#pragma once

#include "dynamic_k.h"

namespace pseudo_iou_ops {

struct SimOtaRule {
  float radius;
  bool center_region;  // else a box's region is its center or the box itself
  int top_ious;
  float iou_weight, cls_weight, eps;
};

// The square of `radius` strides to each side of the box's center.
PIOU_HOST_DEVICE Box center_region(const Box& box, float radius, float stride) {
  const float x = (box.x1 + box.x2) / 2.0f, y = (box.y1 + box.y2) / 2.0f, reach = radius * stride;
  return {x - reach, y - reach, x + reach, y + reach};
}

PIOU_HOST_DEVICE PointPrior prior_of(const SimOtaRule& rule, const Box& box, float stride, float x, float y) {
  const bool is_in_center = is_inside(distances(center_region(box, rule.radius, stride), x, y));
  return {is_in_center && (rule.center_region || is_inside(distances(box, x, y))), 0.0f};
}

// The probability that a class is there, from those of the class and of any object.
PIOU_HOST_DEVICE float joint_probability(float p, float objectness) { return std::sqrt(p * objectness); }

// The cross entropy of a class that is not there, and of one that is.
PIOU_HOST_DEVICE float cost_of_absence(float p) { return -floored_log(1.0f - p); }
PIOU_HOST_DEVICE float cost_of_presence(float p) { return -floored_log(p); }

PIOU_HOST_DEVICE float total_cost(const SimOtaRule& rule, float classes, float overlap, const PointPrior&) {
  return classes * rule.cls_weight + overlap_cost(overlap, rule.eps, rule.iou_weight);
}

// What a call of SimOTA hands to a kernel.
struct SimOtaParams {
  TopKParams call;
  SimOtaRule rule;
  Predictions predictions;
  Head objectness;  // of one channel; without levels if the head has none
  FloatType objectness_type;
};

}  // namespace pseudo_iou_ops
