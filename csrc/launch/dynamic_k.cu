#include "../kernels/sim_ota.cuh"
#include "../kernels/soft_label.cuh"
#include "launch.h"

namespace pseudo_iou_ops {
namespace {

template <class Family, class Params>
cudaError_t launch_on(cudaStream_t stream, const Params& params) {
  launch_dynamic_k_kernels<Family>(
      params, [&](auto kernel, int64_t blocks, int threads, const auto&... arguments) {
        kernel<<<static_cast<unsigned>(blocks), threads, 0, stream>>>(arguments...);
      });
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_sim_ota(const SimOtaParams& params, cudaStream_t stream) {
  return launch_on<SimOtaOnCuda>(stream, params);
}

cudaError_t launch_soft_label(const SoftLabelParams& params, cudaStream_t stream) {
  return launch_on<SoftLabelOnCuda>(stream, params);
}

}  // namespace pseudo_iou_ops
