// How a point chooses among the boxes that hold it, and what the choice makes of it.
#pragma once

#include "assign_params.h"

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
  int row = -1;  // as whoever offers the boxes numbers them; negative: none
  float area = 0.0f;
  float value = 0.0f;
  bool in_ignore_band = false;
};

// Offers the box of a point in range.
PIOU_HOST_DEVICE void offer(Choice& choice, const Rule& rule, const PointInBox& point, int row) {
  const float q = quality(rule.metric, point.d);
  if (rule.order == Order::kFilterThenChoose &&
      !passes(rule.metric, rule.threshold, rule.inclusive, point, q)) {
    if (rule.has_ignore_band && !choice.in_ignore_band) {
      choice.in_ignore_band = passes(rule.metric, rule.ignore_threshold, rule.inclusive, point, q);
    }
    return;
  }
  const float box_value = rule.resolve == Resolve::kMaxMetric ? value(rule.metric, point.d, q) : 0.0f;
  const float box_area = area(point.box);
  const bool is_better =
      choice.row < 0 || box_value > choice.value || (box_value == choice.value && box_area < choice.area);
  if (is_better) {
    choice.row = row;
    choice.area = box_area;
    choice.value = box_value;
  }
}

// Whether the chosen box makes its point positive: with filter_then_choose it has passed when it was offered.
PIOU_HOST_DEVICE bool is_positive(const Rule& rule, const PointInBox& point, float quality) {
  return rule.order == Order::kFilterThenChoose ||
         passes(rule.metric, rule.threshold, rule.inclusive, point, quality);
}

// Whether a chosen box that does not leaves its point in the ignore band.
PIOU_HOST_DEVICE bool is_in_ignore_band(const Rule& rule, const PointInBox& point, float quality) {
  return rule.has_ignore_band && passes(rule.metric, rule.ignore_threshold, rule.inclusive, point, quality);
}

PIOU_HOST_DEVICE bool is_padding(const float* valid_sizes, int64_t image, float x, float y) {
  return valid_sizes != nullptr && (y >= valid_sizes[2 * image] || x >= valid_sizes[2 * image + 1]);
}

}  // namespace pseudo_iou_ops
