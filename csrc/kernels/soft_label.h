// What dynamic soft labels make of a box and a point, as their kernels on both devices see it.
#pragma once

#include "../core/soft_label.h"

namespace pseudo_iou_ops {

class SoftLabelCosts {
 public:
  static constexpr int kRegions = 1;

  PIOU_HOST_DEVICE explicit SoftLabelCosts(const SoftLabelParams& params) : params_(params) {}

  PIOU_HOST_DEVICE const TopKParams& call() const { return params_.call; }
  PIOU_HOST_DEVICE const Predictions& predictions() const { return params_.predictions; }
  PIOU_HOST_DEVICE int top_ious() const { return params_.rule.top_ious; }

  // Where a box makes points valid.
  PIOU_HOST_DEVICE Box region(const Box& box, float, int) const { return box; }

  // The near cells are those less than so many strides from the center of the box on either axis: two more
  // than where the prior is 1, so that it is 100 elsewhere.
  PIOU_HOST_DEVICE float near_reach() const { return params_.rule.radius + 2.0f; }

  // The least cost in other cells: no classes, a whole overlap, whose logarithm may be above 0, and the prior
  // of the closest point, less what rounding may take from a distance.
  PIOU_HOST_DEVICE uint32_t least_key_elsewhere() const {
    const PointPrior closest{true, center_prior(params_.rule, near_reach() * 0.999f, 1.0f)};
    return cost_key(true, total_cost(params_.rule, 0.0f, 1.0f, closest));
  }

  PIOU_HOST_DEVICE PointPrior prior(const Box& box, int level, float x, float y) const {
    return prior_of(params_.rule, box, params_.call.levels[level].stride, x, y);
  }

  PIOU_HOST_DEVICE ClassTerms class_terms(const HeadPoint& at, int64_t box_row, float overlap) const {
    const int64_t label = params_.call.labels[box_row];
    const bool has_class = label >= 0 && label < params_.predictions.scores.num_channels;
    const float logit =
        has_class ? bounded_logit(read_score(params_.predictions, at, label)) : -kLargestLogit;
    return {soft_cost_of_absence(logit), soft_cost_of_presence(logit, overlap)};
  }

  PIOU_HOST_DEVICE float cost(float classes, float overlap, const PointPrior& prior) const {
    return total_cost(params_.rule, classes, overlap, prior);
  }

  PIOU_HOST_DEVICE float objectness(const HeadPoint&) const { return 1.0f; }

  // What the absence of a class of this score adds to the sum of its point.
  PIOU_HOST_DEVICE float absence(float score, float) const {
    return soft_cost_of_absence(bounded_logit(score));
  }

 private:
  const SoftLabelParams& params_;
};

}  // namespace pseudo_iou_ops
