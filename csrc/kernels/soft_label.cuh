// What dynamic soft labels are to dynamic_k.cuh.
#pragma once

#include "dynamic_k.cuh"
#include "soft_label.h"

namespace pseudo_iou_ops {

struct SoftLabelOnCuda : SoftLabelCosts {
  using SoftLabelCosts::SoftLabelCosts;

  PIOU_DEVICE AxisCells near_cells(int64_t image, const Box& box) const {
    const int lane = static_cast<int>(threadIdx.x) % 32, level = lane / 2;
    const bool is_row = lane % 2 == 1;
    if (level >= call().num_levels) return {0, 0};
    const CellLine line = valid_line(call(), image, level, is_row);
    const float center = is_row ? (box.y1 + box.y2) / 2.0f : (box.x1 + box.x2) / 2.0f;
    const float reach = near_reach() * line.stride;
    return {line.first_where([=](float x) { return center - x < reach; }),
            line.first_where([=](float x) { return !(x - center < reach); })};
  }
};

}  // namespace pseudo_iou_ops
