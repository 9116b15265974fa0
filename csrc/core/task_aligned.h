// Task-aligned assignment (Feng et al., "TOOD", 2021): how well a prediction fits a box in class and place.
#pragma once

#include "box.h"
#include "predictions.h"
#include "top_k_params.h"

namespace pseudo_iou_ops {

// In the order of AMONG of pseudo_iou_ops/top_k_rules.py.
enum class Among : int { kChoosers, kAll, kHolders, kCount };

constexpr int kMaxBeta = 8;  // as in pseudo_iou_ops/top_k_rules.py

struct TaskAlignedRule {
  int k;
  float alpha;
  int beta;
  bool ciou, all_candidates;
  float inside_margin, min_side;
  Among among;
  int64_t keep;  // 0: all
  float eps;
};

// Complete IoU (Zheng et al. 2020), floored at 0. Both boxes are valid.
PIOU_HOST_DEVICE float box_ciou(const Box& p, const Box& g) {
  const float iou = box_iou(p, g);
  const float dx = ((g.x1 + g.x2) - p.x1) - p.x2, dy = ((g.y1 + g.y2) - p.y1) - p.y2;
  const float cw = maximum(p.x2, g.x2) - minimum(p.x1, g.x1), ch = maximum(p.y2, g.y2) - minimum(p.y1, g.y1);
  const float distance = ((dx * dx + dy * dy) / 4.0f) / ((cw * cw + ch * ch) + 1e-7f);
  const float d = exact_atan(width(g), height(g)) - exact_atan(width(p), height(p));
  const float v = 0.405284733f * (d * d);  // 4 / pi^2
  const float weight = v / ((v - iou) + 1.00000012f);
  const float value = iou - (distance + v * weight);
  return value > 0.0f ? value : 0.0f;
}

PIOU_HOST_DEVICE float prediction_overlap(const TaskAlignedRule& rule, const Box& prediction,
                                          const Box& box) {
  if (!is_valid(prediction)) return 0.0f;
  return rule.ciou ? box_ciou(prediction, box) : box_iou(prediction, box);
}

// The box with sides of at least min_side, about its center.
PIOU_HOST_DEVICE Box grown(const Box& box, float min_side) {
  Box result = box;
  const float half = min_side / 2.0f;
  if (width(box) < min_side) {
    const float center = (box.x1 + box.x2) / 2.0f;
    result.x1 = center - half;
    result.x2 = center + half;
  }
  if (height(box) < min_side) {
    const float center = (box.y1 + box.y2) / 2.0f;
    result.y1 = center - half;
    result.y2 = center + half;
  }
  return result;
}

// Whether a box of an image holds a point.
PIOU_HOST_DEVICE bool holds(const TaskAlignedRule& rule, const Box& box, float x, float y) {
  return is_deeper_inside(distances(grown(box, rule.min_side), x, y), rule.inside_margin);
}

// What a call of the task-aligned assignment hands to a kernel.
struct TaskAlignedParams {
  TopKParams call;
  TaskAlignedRule rule;
  Predictions predictions;
};

}  // namespace pseudo_iou_ops
