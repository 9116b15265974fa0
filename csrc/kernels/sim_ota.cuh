// What SimOTA is to dynamic_k.cuh.
#pragma once

#include "dynamic_k.cuh"
#include "sim_ota.h"

namespace pseudo_iou_ops {

struct SimOtaOnCuda : SimOtaCosts {
  using SimOtaCosts::SimOtaCosts;

  // The cells of a box's own points.
  PIOU_DEVICE AxisCells near_cells(int64_t image, const Box& box) const {
    const AxisCells center = axis_cells(call(), image, region_of_lane(*this, box, 0), 0.0f, false);
    const AxisCells inside = axis_cells(call(), image, region_of_lane(*this, box, 1), 0.0f, false);
    return {center.begin > inside.begin ? center.begin : inside.begin,
            center.end < inside.end ? center.end : inside.end};
  }
};

}  // namespace pseudo_iou_ops
