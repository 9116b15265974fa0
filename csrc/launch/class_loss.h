// Starts the kernels of the classification losses; all that needs nvcc is behind these functions.
#pragma once

#include <cuda_runtime_api.h>

#include "../core/class_loss.h"
#include "../core/reduced_precision.h"

namespace pseudo_iou_ops {

// How many parts of the loss the kernel leaves behind for its sum.
template <class T>
int64_t class_loss_parts(const ClassLossParams& params);

template <class T>
cudaError_t launch_class_loss(const ClassLossParams& params, Compute<T>* parts, Compute<T>* loss,
                              cudaStream_t stream);

}  // namespace pseudo_iou_ops
