// Starts the kernels of SimOTA and of dynamic soft labels; all that needs nvcc is behind these functions.
#pragma once

#include <cuda_runtime_api.h>

#include "../core/sim_ota.h"
#include "../core/soft_label.h"

namespace pseudo_iou_ops {

// Offsets on the host are for at most kMaxImagesByValue images.
cudaError_t launch_sim_ota(const SimOtaParams& params, cudaStream_t stream);
cudaError_t launch_soft_label(const SoftLabelParams& params, cudaStream_t stream);

}  // namespace pseudo_iou_ops
