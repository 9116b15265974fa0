// Starts the kernels of ATSS; all that needs nvcc is behind this function.
#pragma once

#include <cuda_runtime_api.h>

#include "../core/atss.h"

namespace pseudo_iou_ops {

// Offsets on the host are for at most kMaxImagesByValue images.
cudaError_t launch_atss(const TopKParams& params, const AtssRule& rule, cudaStream_t stream);

}  // namespace pseudo_iou_ops
