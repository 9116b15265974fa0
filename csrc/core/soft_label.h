// Dynamic soft labels (Lyu et al., "RTMDet", 2022): what a point costs a box.
#pragma once

#include "dynamic_k.h"

namespace pseudo_iou_ops {

struct SoftLabelRule {
  float radius;
  int top_ious;
  float iou_weight, eps;
};

constexpr float kLargestLogit = 100.0f;

// A score as a logit that no sum overflows with; what is no number is the least.
PIOU_HOST_DEVICE float bounded_logit(float score) {
  const float x = score > -kLargestLogit ? score : -kLargestLogit;
  return minimum(x, kLargestLogit);
}

// The cost of a class that is not there: its cross entropy, times the square of what its score should lose.
PIOU_HOST_DEVICE float soft_cost_of_absence(float logit) {
  const float p = exact_sigmoid(logit);
  return (exact_softplus(logit) * p) * p;
}

// The cost of a class whose target is an overlap.
PIOU_HOST_DEVICE float soft_cost_of_presence(float logit, float overlap) {
  const float difference = overlap - exact_sigmoid(logit);
  return (exact_softplus(logit) - logit * overlap) * (difference * difference);
}

// The prior grows tenfold with each stride that a point is farther from the center of the box; that of a
// point at `distance` pixels.
PIOU_HOST_DEVICE float center_prior(const SoftLabelRule& rule, float distance, float stride) {
  return exact_exp10(distance / stride - rule.radius);
}

// Every valid point is as good as a box's own.
PIOU_HOST_DEVICE PointPrior prior_of(const SoftLabelRule& rule, const Box& box, float stride, float x,
                                     float y) {
  const float dx = x - (box.x1 + box.x2) / 2.0f, dy = y - (box.y1 + box.y2) / 2.0f;
  return {true, center_prior(rule, std::sqrt(dx * dx + dy * dy), stride)};
}

PIOU_HOST_DEVICE float total_cost(const SoftLabelRule& rule, float classes, float overlap,
                                  const PointPrior& prior) {
  return (classes + overlap_cost(overlap, rule.eps, rule.iou_weight)) + prior.cost;
}

// What a call of dynamic soft labels hands to a kernel.
struct SoftLabelParams {
  TopKParams call;
  SoftLabelRule rule;
  Predictions predictions;
};

}  // namespace pseudo_iou_ops
