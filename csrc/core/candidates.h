// How a point chooses among the boxes that hold it, and what the choice makes of it.
#pragma once

#include "box.h"
#include "metrics.h"
#include "params.h"

namespace pseudo_iou_ops {

PIOU_HOST_DEVICE bool in_range(const Level& level, float longest_distance) {
  return longest_distance >= level.low && longest_distance <= level.high;
}

// False only if no point inside the box can be in range: max(l, t, r, b) lies between half the longer
// side and the longer side, and rounding keeps that order.
PIOU_HOST_DEVICE bool can_be_in_range(const Level& level, const Box& box) {
  const float side = maximum(width(box), height(box));
  return side >= level.low && side / 2.0f <= level.high;
}

// The best box so far. Boxes are offered in the order of their rows and replace it only if strictly
// better, so that the lowest row wins a tie.
struct Choice {
  int row = -1;  // within the image; negative: none
  float area = 0.0f;
  float value = 0.0f;
  bool in_ignore_band = false;
};

// Offers a box that holds the point (x, y) in range.
PIOU_HOST_DEVICE void offer(Choice& choice, const Rule& rule, float stride, const Box& box, int row, float x,
                            float y, const Distances& d) {
  const float q = quality(rule.metric, d);
  if (rule.order == Order::kFilterThenChoose && !passes(rule, rule.threshold, stride, box, x, y, d, q)) {
    if (rule.has_ignore_band && !choice.in_ignore_band) {
      choice.in_ignore_band = passes(rule, rule.ignore_threshold, stride, box, x, y, d, q);
    }
    return;
  }
  float value = 0.0f;
  if (rule.resolve == Resolve::kMaxMetric) value = rule.metric == Metric::kScaledBox ? scaled_box(d) : q;
  const float box_area = area(box);
  const bool is_better =
      choice.row < 0 || value > choice.value || (value == choice.value && box_area < choice.area);
  if (is_better) {
    choice.row = row;
    choice.area = box_area;
    choice.value = value;
  }
}

// Whether the chosen box makes its point positive.
PIOU_HOST_DEVICE bool is_positive(const Rule& rule, float stride, const Box& box, float x, float y,
                                  const Distances& d, float quality) {
  return rule.order == Order::kFilterThenChoose ||
         passes(rule, rule.threshold, stride, box, x, y, d, quality);
}

// Whether a chosen box that does not leaves it in the ignore band.
PIOU_HOST_DEVICE bool is_in_ignore_band(const Rule& rule, float stride, const Box& box, float x, float y,
                                        const Distances& d, float quality) {
  return rule.has_ignore_band && passes(rule, rule.ignore_threshold, stride, box, x, y, d, quality);
}

PIOU_HOST_DEVICE bool is_padding(const float* valid_sizes, int64_t image, float x, float y) {
  return valid_sizes != nullptr && (y >= valid_sizes[2 * image] || x >= valid_sizes[2 * image + 1]);
}

}  // namespace pseudo_iou_ops
