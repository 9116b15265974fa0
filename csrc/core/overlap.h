// The overlap of two boxes. Float32, in the order of the contract.
#pragma once

#include "box.h"

namespace pseudo_iou_ops {

// Both boxes are valid.
PIOU_HOST_DEVICE float box_iou(const Box& a, const Box& b) {
  const float w = minimum(a.x2, b.x2) - maximum(a.x1, b.x1), h = minimum(a.y2, b.y2) - maximum(a.y1, b.y1);
  const float intersection = maximum(w, 0.0f) * maximum(h, 0.0f);
  return intersection / maximum((area(a) + area(b)) - intersection, 1e-6f);
}

}  // namespace pseudo_iou_ops
