// Starts the kernels of every op; all that needs nvcc is behind these functions.
#pragma once

#include <cuda_runtime_api.h>

#include "../core/atss.h"
#include "../core/class_loss.h"
#include "../core/decode.h"
#include "../core/ltrb_loss.h"
#include "../core/reduced_precision.h"
#include "../core/sim_ota.h"
#include "../core/soft_label.h"
#include "../core/task_aligned.h"
#include "../kernels/scale.h"

namespace pseudo_iou_ops {

// Assignments. Offsets on the host are for at most kMaxImagesByValue images; `scratch` has a number for each
// box.
cudaError_t launch_assign(const AssignParams& params, cudaStream_t stream);
cudaError_t launch_atss(const TopKParams& params, const AtssRule& rule, cudaStream_t stream);
cudaError_t launch_sim_ota(const SimOtaParams& params, cudaStream_t stream);
cudaError_t launch_soft_label(const SoftLabelParams& params, cudaStream_t stream);
cudaError_t launch_task_aligned(const TaskAlignedParams& params, int64_t* scratch, cudaStream_t stream);

// Losses, and how many parts of a loss its kernel leaves behind for the sum.
template <class T>
int64_t class_loss_parts(const ClassLossParams& params);
int64_t ltrb_loss_parts(const LtrbLossParams& params);
template <class T>
cudaError_t launch_class_loss(const ClassLossParams& params, Compute<T>* parts, Compute<T>* loss,
                              cudaStream_t stream);
template <class T>
cudaError_t launch_ltrb_loss(const LtrbLossParams& params, Compute<T>* parts, Compute<T>* loss,
                             cudaStream_t stream);
template <class T>
cudaError_t launch_scale(const ScaleParams& params, cudaStream_t stream);

// The best candidates, and how many keys, of 8 bytes, the kernels need beside the outputs.
int64_t decode_scratch_keys(const DecodeParams& params);
template <class T>
cudaError_t launch_decode(const DecodeParams& params, int64_t* keys, cudaStream_t stream);

}  // namespace pseudo_iou_ops
