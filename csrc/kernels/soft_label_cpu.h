// What dynamic soft labels are to dynamic_k_cpu.h.
#pragma once

#include "class_sum_cpu.h"
#include "dynamic_k_cpu.h"
#include "soft_label.h"

namespace pseudo_iou_ops {

// The costs of classes that are not there.
PIOU_MULTIVERSION inline void find_soft_absences(const float* PIOU_RESTRICT scores, int64_t count,
                                                 float* PIOU_RESTRICT terms) {
  for (int64_t i = 0; i < count; ++i) terms[i] = soft_cost_of_absence(bounded_logit(scores[i]));
}

// T is the type of the predicted boxes.
template <class T>
class SoftLabelFamily : public SoftLabelCosts {
 public:
  using SoftLabelCosts::SoftLabelCosts;

  Box prediction(const HeadPoint& at, float x, float y) const {
    return predicted_box<T>(predictions(), at, x, y);
  }

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

  float negative_sum(const HeadPoint& at) const {
    return sum_over_classes(predictions(), at, find_soft_absences);
  }
};

}  // namespace pseudo_iou_ops
