#include "../kernels/task_aligned.cuh"
#include "launch.h"

namespace pseudo_iou_ops {

cudaError_t launch_task_aligned(const TaskAlignedParams& params, int64_t* scratch, cudaStream_t stream) {
  launch_task_aligned_kernels(params, scratch,
                              [&](auto kernel, int64_t blocks, int threads, const auto&... arguments) {
                                kernel<<<static_cast<unsigned>(blocks), threads, 0, stream>>>(arguments...);
                              });
  return cudaGetLastError();
}

}  // namespace pseudo_iou_ops
