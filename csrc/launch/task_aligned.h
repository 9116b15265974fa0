// Starts the kernels of the task-aligned assignment; all that needs nvcc is behind this function.
#pragma once

#include <cuda_runtime_api.h>

#include "../core/task_aligned.h"

namespace pseudo_iou_ops {

// Offsets on the host are for at most kMaxImagesByValue images. `scratch` has a number for each box.
cudaError_t launch_task_aligned(const TaskAlignedParams& params, int64_t* scratch, cudaStream_t stream);

}  // namespace pseudo_iou_ops
