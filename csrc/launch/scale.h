// Starts the kernel that scales gradients.
#pragma once

#include <cuda_runtime_api.h>

#include "../kernels/scale.h"

namespace pseudo_iou_ops {

template <class T>
cudaError_t launch_scale(const ScaleParams& params, cudaStream_t stream);

}  // namespace pseudo_iou_ops
