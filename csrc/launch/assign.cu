#include "../kernels/assign.cuh"
#include "launch.h"

namespace pseudo_iou_ops {

cudaError_t launch_assign(const AssignParams& params, cudaStream_t stream) {
  launch_chosen_kernel(params, kMaxImagesPerLaunch,
                       [&](auto kernel, const auto& table, int tiles, int images) {
                         kernel<<<dim3(tiles, images), kThreads, 0, stream>>>(params, table);
                       });
  return cudaGetLastError();
}

}  // namespace pseudo_iou_ops
