#include "assign.h"

#include "../kernels/assign.cuh"

namespace pseudo_iou_ops {

cudaError_t launch_assign(const AssignParams& params, const int64_t* host_offsets,
                          const int64_t* host_ignore_offsets, cudaStream_t stream) {
  if (params.num_images == 0 || params.num_points == 0) return cudaSuccess;
  return launch_chosen_kernel(params, host_offsets, host_ignore_offsets, points_per_thread(params),
                              [&](auto kernel, const auto& table, int64_t tiles) {
                                const dim3 grid(static_cast<unsigned>(tiles * params.num_images));
                                kernel<<<grid, kThreads, 0, stream>>>(params, table, static_cast<int>(tiles));
                                return cudaGetLastError();
                              });
}

}  // namespace pseudo_iou_ops
