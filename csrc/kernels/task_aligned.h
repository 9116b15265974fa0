// How well a point fits a box, as both kernels of the task-aligned assignment measure it.
#pragma once

#include "../core/task_aligned.h"

namespace pseudo_iou_ops {

PIOU_HOST_DEVICE float class_probability(const TaskAlignedParams& params, const HeadPoint& at,
                                         int64_t box_row) {
  const int64_t label = params.call.labels[box_row];
  if (label < 0 || label >= params.predictions.scores.num_channels) return 0.0f;
  return probability_of(read_score(params.predictions, at, label), params.predictions.scores_are_logits);
}

PIOU_HOST_DEVICE float alignment_of(const TaskAlignedRule& rule, float p, float overlap) {
  return power_of_probability(p, rule.alpha) * whole_power(overlap, rule.beta);
}

PIOU_HOST_DEVICE float alignment(const TaskAlignedParams& params, const HeadPoint& at, int64_t box_row,
                                 float overlap) {
  return alignment_of(params.rule, class_probability(params, at, box_row), overlap);
}

}  // namespace pseudo_iou_ops
