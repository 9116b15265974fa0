#include "../kernels/atss.cuh"
#include "launch.h"

namespace pseudo_iou_ops {

cudaError_t launch_atss(const TopKParams& params, const AtssRule& rule, cudaStream_t stream) {
  launch_atss_kernels(params, rule, [&](auto kernel, int64_t blocks, int threads, const auto&... arguments) {
    kernel<<<static_cast<unsigned>(blocks), threads, 0, stream>>>(arguments...);
  });
  return cudaGetLastError();
}

}  // namespace pseudo_iou_ops
