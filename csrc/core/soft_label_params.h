// What a call of dynamic soft labels hands to a kernel.
#pragma once

#include "soft_label.h"

namespace pseudo_iou_ops {

struct SoftLabelParams {
  TopKParams call;
  SoftLabelRule rule;
  Predictions predictions;
};

}  // namespace pseudo_iou_ops
