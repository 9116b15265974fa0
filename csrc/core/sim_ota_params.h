// What a call of SimOTA hands to a kernel.
#pragma once

#include "sim_ota.h"

namespace pseudo_iou_ops {

struct SimOtaParams {
  TopKParams call;
  SimOtaRule rule;
  Predictions predictions;
  Head objectness;  // of one channel; without levels if the head has none
  FloatType objectness_type;
};

}  // namespace pseudo_iou_ops
