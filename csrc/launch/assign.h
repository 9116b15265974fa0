// Starts the assignment kernel; all that needs nvcc is behind this function.
#pragma once

#include <cuda_runtime_api.h>

#include "../core/assign_params.h"

namespace pseudo_iou_ops {

// Offsets on the host are for at most kMaxImagesByValue images.
cudaError_t launch_assign(const AssignParams& params, cudaStream_t stream);

}  // namespace pseudo_iou_ops
