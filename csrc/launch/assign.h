// Starts the assignment kernel; all that needs nvcc is behind this function.
#pragma once

#include <cuda_runtime_api.h>

#include "../core/assign_params.h"

namespace pseudo_iou_ops {

// host_offsets and host_ignore_offsets stand in for params' pointers where those are null, for at most
// kMaxImagesByValue images.
cudaError_t launch_assign(const AssignParams& params, const int64_t* host_offsets,
                          const int64_t* host_ignore_offsets, cudaStream_t stream);

}  // namespace pseudo_iou_ops
