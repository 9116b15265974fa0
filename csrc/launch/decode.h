// Starts the kernels of decode_topk; all that needs nvcc is behind these functions.
#pragma once

#include <cuda_runtime_api.h>

#include "../core/decode.h"
#include "../core/reduced_precision.h"

namespace pseudo_iou_ops {

// How many keys, of 8 bytes, the kernels need beside the outputs.
int64_t decode_scratch_keys(const DecodeParams& params);

template <class T>
cudaError_t launch_decode(const DecodeParams& params, int64_t* keys, cudaStream_t stream);

}  // namespace pseudo_iou_ops
