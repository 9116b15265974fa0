// Starts the kernels of the box losses; all that needs nvcc is behind this function.
#pragma once

#include <cuda_runtime_api.h>

#include "../core/ltrb_loss.h"
#include "../core/reduced_precision.h"

namespace pseudo_iou_ops {

// How many parts of the loss the kernel leaves behind for its sum.
int64_t ltrb_loss_parts(const LtrbLossParams& params);

template <class T>
cudaError_t launch_ltrb_loss(const LtrbLossParams& params, Compute<T>* parts, Compute<T>* loss,
                             cudaStream_t stream);

}  // namespace pseudo_iou_ops
