// What a call of the task-aligned assignment hands to a kernel.
#pragma once

#include "predictions.h"
#include "task_aligned.h"

namespace pseudo_iou_ops {

struct TaskAlignedParams {
  TopKParams call;
  TaskAlignedRule rule;
  Predictions predictions;
};

}  // namespace pseudo_iou_ops
