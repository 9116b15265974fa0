// What SimOTA makes of a box and a point, as its kernels on both devices see it.
#pragma once

#include "../core/sim_ota.h"

namespace pseudo_iou_ops {

class SimOtaCosts {
 public:
  static constexpr int kRegions = 2;

  PIOU_HOST_DEVICE explicit SimOtaCosts(const SimOtaParams& params) : params_(params) {}

  PIOU_HOST_DEVICE const TopKParams& call() const { return params_.call; }
  PIOU_HOST_DEVICE const Predictions& predictions() const { return params_.predictions; }
  PIOU_HOST_DEVICE int top_ious() const { return params_.rule.top_ious; }

  // Where a box makes points valid. With the center alone that region is there twice.
  PIOU_HOST_DEVICE Box region(const Box& box, float stride, int index) const {
    const bool is_box = index == 1 && !params_.rule.center_region;
    return is_box ? box : center_region(box, params_.rule.radius, stride);
  }

  // No point of other cells than the near ones is the box's own.
  PIOU_HOST_DEVICE uint32_t least_key_elsewhere() const { return cost_key(false, 0.0f); }

  PIOU_HOST_DEVICE PointPrior prior(const Box& box, int level, float x, float y) const {
    return prior_of(params_.rule, box, params_.call.levels[level].stride, x, y);
  }

  PIOU_HOST_DEVICE ClassTerms class_terms(const HeadPoint& at, int64_t box_row, float) const {
    const int64_t label = params_.call.labels[box_row];
    const bool has_class = label >= 0 && label < params_.predictions.scores.num_channels;
    float p = 0.0f;
    if (has_class) p = joint(read_score(params_.predictions, at, label), objectness(at));
    return {cost_of_absence(p), cost_of_presence(p)};
  }

  PIOU_HOST_DEVICE float cost(float classes, float overlap, const PointPrior& prior) const {
    return total_cost(params_.rule, classes, overlap, prior);
  }

  PIOU_HOST_DEVICE bool has_objectness() const { return params_.objectness.num_levels > 0; }

  // 1 if the head has none.
  PIOU_HOST_DEVICE float objectness(const HeadPoint& at) const {
    if (!has_objectness()) return 1.0f;
    return probability_of(read_value(params_.objectness, params_.objectness_type, at, 0),
                          params_.predictions.scores_are_logits);
  }

  // What the absence of a class of this score adds to the sum of its point.
  PIOU_HOST_DEVICE float absence(float score, float objectness) const {
    return cost_of_absence(joint(score, objectness));
  }

 private:
  PIOU_HOST_DEVICE float joint(float score, float objectness) const {
    const float p = probability_of(score, params_.predictions.scores_are_logits);
    return has_objectness() ? joint_probability(p, objectness) : p;
  }

  const SimOtaParams& params_;
};

}  // namespace pseudo_iou_ops
