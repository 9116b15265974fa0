// What dynamic soft labels are to dynamic_k_cpu.h.
#pragma once

#include "../core/soft_label.h"
#include "class_sum_cpu.h"
#include "dynamic_k_cpu.h"

namespace pseudo_iou_ops {

// The costs of classes that are not there.
PIOU_MULTIVERSION inline void find_soft_absences(const float* PIOU_RESTRICT scores, int64_t count,
                                                 float* PIOU_RESTRICT terms) {
  for (int64_t i = 0; i < count; ++i) terms[i] = soft_cost_of_absence(bounded_logit(scores[i]));
}

// T is the type of the predicted boxes.
template <class T>
class SoftLabelFamily {
 public:
  explicit SoftLabelFamily(const SoftLabelParams& params) : params_(params) {}

  const TopKParams& call() const { return params_.call; }
  int top_ious() const { return params_.rule.top_ious; }

  Box prediction(const HeadPoint& at, float x, float y) const {
    return predicted_box<T>(params_.predictions, at, x, y);
  }

  // Where a box makes points valid.
  std::array<Box, 1> regions(const Box& box, float) const { return {box}; }

  // The cells less than so many strides from the center of the box on either axis: two more than where the
  // prior is 1, so that it is 100 elsewhere.
  bool near_cells(const Grid& grid, const ValidCells& valid, const Box& box, Cells& rows,
                  Cells& columns) const {
    const float x = (box.x1 + box.x2) / 2.0f, y = (box.y1 + box.y2) / 2.0f;
    const float reach = near_reach() * grid.level.stride;
    rows = grid.y_axis.near_both(y, y, reach);
    columns = grid.x_axis.near_both(x, x, reach);
    rows.end = std::min(rows.end, valid.rows);
    columns.end = std::min(columns.end, valid.columns);
    return rows.begin < rows.end && columns.begin < columns.end;
  }

  // The least cost in other cells: no classes, a whole overlap, whose logarithm may be above 0, and the prior
  // of the closest point, less what rounding may take from a distance.
  uint32_t least_key_elsewhere() const {
    const Place closest{true, center_prior(params_.rule, near_reach() * 0.999f, 1.0f)};
    return cost_key(true, total_cost(params_.rule, 0.0f, 1.0f, closest));
  }

  Place place(const Box& box, int level, float x, float y) const {
    return place_of(params_.rule, box, params_.call.levels[level].stride, x, y);
  }

  ClassTerms class_terms(const HeadPoint& at, int64_t box_row, float overlap) const {
    const int64_t label = params_.call.labels[box_row];
    const bool has_class = label >= 0 && label < params_.predictions.scores.num_channels;
    const float logit =
        has_class ? bounded_logit(read_score(params_.predictions, at, label)) : -kLargestLogit;
    return {soft_cost_of_absence(logit), soft_cost_of_presence(logit, overlap)};
  }

  float cost(float classes, float overlap, const Place& place) const {
    return total_cost(params_.rule, classes, overlap, place);
  }

  float negative_sum(const HeadPoint& at) const {
    return sum_over_classes(params_.predictions, at, find_soft_absences);
  }

 private:
  float near_reach() const { return params_.rule.radius + 2.0f; }

  const SoftLabelParams& params_;
};

}  // namespace pseudo_iou_ops
