// What SimOTA is to dynamic_k_cpu.h.
#pragma once

#include "../core/sim_ota.h"
#include "class_sum_cpu.h"
#include "dynamic_k_cpu.h"

namespace pseudo_iou_ops {

// The cross entropies of classes that are not there.
template <bool kAreLogits, bool kHasObjectness>
PIOU_MULTIVERSION void find_absences(const float* PIOU_RESTRICT scores, int64_t count, float objectness,
                                     float* PIOU_RESTRICT terms) {
  for (int64_t i = 0; i < count; ++i) {
    const float p = probability_of(scores[i], kAreLogits);
    terms[i] = cost_of_absence(kHasObjectness ? joint_probability(p, objectness) : p);
  }
}

// T is the type of the predicted boxes.
template <class T>
class SimOtaFamily {
 public:
  explicit SimOtaFamily(const SimOtaParams& params) : params_(params) {}

  const TopKParams& call() const { return params_.call; }
  int top_ious() const { return params_.rule.top_ious; }

  Box prediction(const HeadPoint& at, float x, float y) const {
    return predicted_box<T>(params_.predictions, at, x, y);
  }

  // Where a box makes points valid. With the center alone that region is there twice.
  std::array<Box, 2> regions(const Box& box, float stride) const {
    const Box center = center_region(box, params_.rule.radius, stride);
    return {center, params_.rule.center_region ? center : box};
  }

  // The cells of a box's own points.
  bool near_cells(const Grid& grid, const ValidCells& valid, const Box& box, Cells& rows,
                  Cells& columns) const {
    const Box center = center_region(box, params_.rule.radius, grid.level.stride);
    if (!cells_inside(grid, valid, center, kInfinity, rows, columns)) return false;
    if (params_.rule.center_region) return true;
    Cells box_rows, box_columns;
    if (!cells_inside(grid, valid, box, kInfinity, box_rows, box_columns)) return false;
    rows = {std::max(rows.begin, box_rows.begin), std::min(rows.end, box_rows.end)};
    columns = {std::max(columns.begin, box_columns.begin), std::min(columns.end, box_columns.end)};
    return true;
  }

  // No point of other cells is the box's own.
  uint32_t least_key_elsewhere() const { return cost_key(false, 0.0f); }

  Place place(const Box& box, int level, float x, float y) const {
    return place_of(params_.rule, box, params_.call.levels[level].stride, x, y);
  }

  ClassTerms class_terms(const HeadPoint& at, int64_t box_row, float) const {
    const int64_t label = params_.call.labels[box_row];
    const bool has_class = label >= 0 && label < params_.predictions.scores.num_channels;
    float p = 0.0f;
    if (has_class) {
      p = probability_of(read_score(params_.predictions, at, label), params_.predictions.scores_are_logits);
      if (has_objectness()) p = joint_probability(p, objectness(at));
    }
    return {cost_of_absence(p), cost_of_presence(p)};
  }

  float cost(float classes, float overlap, const Place& place) const {
    return total_cost(params_.rule, classes, overlap, place);
  }

  float negative_sum(const HeadPoint& at) const {
    const bool are_logits = params_.predictions.scores_are_logits;
    const float factor = has_objectness() ? objectness(at) : 1.0f;
    const auto find = has_objectness()
                          ? (are_logits ? find_absences<true, true> : find_absences<false, true>)
                          : (are_logits ? find_absences<true, false> : find_absences<false, false>);
    return sum_over_classes(params_.predictions, at, [=](const float* scores, int64_t count, float* terms) {
      find(scores, count, factor, terms);
    });
  }

 private:
  bool has_objectness() const { return params_.objectness.num_levels > 0; }

  float objectness(const HeadPoint& at) const {
    return probability_of(read_value(params_.objectness, params_.objectness_type, at, 0),
                          params_.predictions.scores_are_logits);
  }

  const SimOtaParams& params_;
};

}  // namespace pseudo_iou_ops
