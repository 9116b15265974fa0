// What SimOTA is to dynamic_k_cpu.h.
#pragma once

#include "class_sum_cpu.h"
#include "dynamic_k_cpu.h"
#include "sim_ota.h"

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
class SimOtaFamily : public SimOtaCosts {
 public:
  using SimOtaCosts::SimOtaCosts;

  Box prediction(const HeadPoint& at, float x, float y) const {
    return predicted_box<T>(predictions(), at, x, y);
  }

  // The cells of a box's own points.
  bool near_cells(const Grid& grid, const ValidCells& valid, const Box& box, Cells& rows,
                  Cells& columns) const {
    if (!cells_inside(grid, valid, region(box, grid.level.stride, 0), kInfinity, rows, columns)) return false;
    Cells box_rows, box_columns;
    const Box other = region(box, grid.level.stride, 1);
    if (!cells_inside(grid, valid, other, kInfinity, box_rows, box_columns)) return false;
    rows = {std::max(rows.begin, box_rows.begin), std::min(rows.end, box_rows.end)};
    columns = {std::max(columns.begin, box_columns.begin), std::min(columns.end, box_columns.end)};
    return true;
  }

  float negative_sum(const HeadPoint& at) const {
    const bool are_logits = predictions().scores_are_logits;
    const float factor = objectness(at);
    const auto find = has_objectness()
                          ? (are_logits ? find_absences<true, true> : find_absences<false, true>)
                          : (are_logits ? find_absences<true, false> : find_absences<false, false>);
    return sum_over_classes(predictions(), at, [=](const float* scores, int64_t count, float* terms) {
      find(scores, count, factor, terms);
    });
  }
};

}  // namespace pseudo_iou_ops
