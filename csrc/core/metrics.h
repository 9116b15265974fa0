// The metrics of the paper and its peers, for a point strictly inside a valid box, and what passes.
// Compiled without contraction and fast math everywhere: one order of operations, one result.
#pragma once

#include <cmath>

#include "box.h"
#include "rule.h"

namespace pseudo_iou_ops {

// The paper's Algorithm 1, in its order of operations.
PIOU_HOST_DEVICE float pseudo_iou(const Distances& d) {
  const float half_width = (d.l + d.r) / 2.0f, half_height = (d.t + d.b) / 2.0f;
  const float intersection = (minimum(half_width, d.l) + minimum(half_width, d.r)) *
                             (minimum(half_height, d.t) + minimum(half_height, d.b));
  const float area = (d.l + d.r) * (d.t + d.b);
  return intersection / ((area + area) - intersection);
}

// FCOS's centerness; the root spans the product.
PIOU_HOST_DEVICE float centerness(const Distances& d) {
  return std::sqrt((minimum(d.l, d.r) / maximum(d.l, d.r)) * (minimum(d.t, d.b) / maximum(d.t, d.b)));
}

// 1 at the center of the box, 0 at its border.
PIOU_HOST_DEVICE float scaled_box(const Distances& d) {
  return 1.0f - maximum(magnitude(d.l - d.r) / (d.l + d.r), magnitude(d.t - d.b) / (d.t + d.b));
}

// What the threshold of pseudo_iou or centerness is compared with; the other metrics compare lengths.
PIOU_HOST_DEVICE float quality(Metric metric, const Distances& d) {
  switch (metric) {
    case Metric::kPseudoIou:
      return pseudo_iou(d);
    case Metric::kCenterness:
      return centerness(d);
    default:
      return 0.0f;
  }
}

PIOU_HOST_DEVICE bool is_below(float a, float b, bool inclusive) { return inclusive ? a <= b : a < b; }

// Whether an inside point passes a threshold (the rule's own, or that of its ignore band), given its quality.
PIOU_HOST_DEVICE bool passes(const Rule& rule, float threshold, float stride, const Box& box, float x,
                             float y, const Distances& d, float quality) {
  switch (rule.metric) {
    case Metric::kPseudoIou:
    case Metric::kCenterness:
      return is_below(threshold, quality, rule.inclusive);
    case Metric::kScaledBox:
      return is_below(magnitude(d.l - d.r), threshold * (d.l + d.r), rule.inclusive) &&
             is_below(magnitude(d.t - d.b), threshold * (d.t + d.b), rule.inclusive);
    case Metric::kCenterRadius: {
      const float radius = threshold * stride;
      const float center_x = (box.x1 + box.x2) / 2.0f, center_y = (box.y1 + box.y2) / 2.0f;
      return is_below(magnitude(x - center_x), radius, rule.inclusive) &&
             is_below(magnitude(y - center_y), radius, rule.inclusive);
    }
    default:
      return true;
  }
}

}  // namespace pseudo_iou_ops
