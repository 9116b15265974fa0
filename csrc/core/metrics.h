// The metrics of the paper and its peers, and what passes: all that the kernels know of a metric.
// Compiled without contraction and fast math everywhere: one order of operations, one result.
#pragma once

#include <cmath>

#include "box.h"

namespace pseudo_iou_ops {

// In the order of METRIC_TRAITS of pseudo_iou_ops/rule.py; the last is their number.
enum class Metric : int { kPseudoIou, kCenterness, kScaledBox, kCenterRadius, kNone, kCount };

// A point strictly inside a valid box, as the metrics see it.
struct PointInBox {
  float stride;  // of the point's level
  Box box;
  float x, y;
  Distances d;
};

// The paper's Algorithm 1, in its order of operations.
PIOU_HOST_DEVICE float pseudo_iou(const Distances& d) {
  const float half_width = (d.l + d.r) / 2.0f, half_height = (d.t + d.b) / 2.0f;
  const float intersection = (smaller(half_width, d.l) + smaller(half_width, d.r)) *
                             (smaller(half_height, d.t) + smaller(half_height, d.b));
  const float area = (d.l + d.r) * (d.t + d.b);
  return intersection / ((area + area) - intersection);
}

// FCOS's centerness; the root spans the product.
PIOU_HOST_DEVICE float centerness(const Distances& d) {
  return std::sqrt((smaller(d.l, d.r) / larger(d.l, d.r)) * (smaller(d.t, d.b) / larger(d.t, d.b)));
}

// 1 at the center of the box, 0 at its border.
PIOU_HOST_DEVICE float scaled_box(const Distances& d) {
  return 1.0f - maximum(magnitude(d.l - d.r) / (d.l + d.r), magnitude(d.t - d.b) / (d.t + d.b));
}

// Whether the threshold is compared with one of the two qualities that every positive point has written out.
PIOU_HOST_DEVICE bool reuses_written_quality(Metric metric) {
  return metric == Metric::kPseudoIou || metric == Metric::kCenterness;
}

// Which of the two it is, numbers or arrays of them; the other metrics do not read it.
template <class Quality>
PIOU_HOST_DEVICE Quality written_quality(Metric metric, Quality pseudo_iou, Quality centerness) {
  return metric == Metric::kPseudoIou ? pseudo_iou : centerness;
}

// The same where nothing is measured yet.
PIOU_HOST_DEVICE float quality(Metric metric, const Distances& d) {
  if (metric == Metric::kPseudoIou) return pseudo_iou(d);
  return metric == Metric::kCenterness ? centerness(d) : 0.0f;
}

// What max_metric compares two boxes by, given the quality.
PIOU_HOST_DEVICE float value(Metric metric, const Distances& d, float quality) {
  return metric == Metric::kScaledBox ? scaled_box(d) : quality;
}

PIOU_HOST_DEVICE bool is_below(float a, float b, bool inclusive) { return inclusive ? a <= b : a < b; }

PIOU_HOST_DEVICE bool passes_quality(float threshold, bool inclusive, float quality) {
  return is_below(threshold, quality, inclusive);
}

// Whether a point passes a threshold, given its quality.
PIOU_HOST_DEVICE bool passes(Metric metric, float threshold, bool inclusive, const PointInBox& point,
                             float quality) {
  if (reuses_written_quality(metric)) return passes_quality(threshold, inclusive, quality);
  const Box& box = point.box;
  const Distances& d = point.d;
  switch (metric) {
    case Metric::kScaledBox:
      return is_below(magnitude(d.l - d.r), threshold * (d.l + d.r), inclusive) &&
             is_below(magnitude(d.t - d.b), threshold * (d.t + d.b), inclusive);
    case Metric::kCenterRadius: {
      const float radius = threshold * point.stride;
      const float center_x = (box.x1 + box.x2) / 2.0f, center_y = (box.y1 + box.y2) / 2.0f;
      return is_below(magnitude(point.x - center_x), radius, inclusive) &&
             is_below(magnitude(point.y - center_y), radius, inclusive);
    }
    default:
      return true;
  }
}

}  // namespace pseudo_iou_ops
