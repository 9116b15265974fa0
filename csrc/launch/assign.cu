#include "assign.h"

#include "../kernels/assign.cuh"

namespace pseudo_iou_ops {

cudaError_t launch_assign(const AssignParams& params, cudaStream_t stream) {
  launch_chosen_kernel(params, is_crowded(params), kMaxImagesPerLaunch,
                       [&](auto kernel, const auto& table, int tiles, int images, int threads) {
                         kernel<<<dim3(tiles, images), threads, 0, stream>>>(params, table);
                       });
  return cudaGetLastError();
}

}  // namespace pseudo_iou_ops
