#include "../kernels/ltrb_loss.cuh"
#include "launch.h"

namespace pseudo_iou_ops {

int64_t ltrb_loss_parts(const LtrbLossParams& params) { return ltrb_loss_blocks(params); }

template <class T>
cudaError_t launch_ltrb_loss(const LtrbLossParams& params, Compute<T>* parts, Compute<T>* loss,
                             cudaStream_t stream) {
  const int64_t blocks = ltrb_loss_blocks(params);
  if (blocks > 0) {
    ltrb_loss_kernel<T><<<static_cast<unsigned>(blocks), kSumThreads, 0, stream>>>(params, parts);
  }
  sum_parts_kernel<<<1, kSumThreads, 0, stream>>>(parts, blocks, loss);
  return cudaGetLastError();
}

template cudaError_t launch_ltrb_loss<float>(const LtrbLossParams&, float*, float*, cudaStream_t);
template cudaError_t launch_ltrb_loss<Half>(const LtrbLossParams&, float*, float*, cudaStream_t);
template cudaError_t launch_ltrb_loss<Bfloat16>(const LtrbLossParams&, float*, float*, cudaStream_t);
template cudaError_t launch_ltrb_loss<double>(const LtrbLossParams&, double*, double*, cudaStream_t);

}  // namespace pseudo_iou_ops
