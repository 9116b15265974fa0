#include "../kernels/scale.cuh"
#include "launch.h"

namespace pseudo_iou_ops {

template <class T>
cudaError_t launch_scale(const ScaleParams& params, cudaStream_t stream) {
  const ScaleTiles tiles = scale_tiles<T>(params);
  if (tiles.count == 0) return cudaSuccess;
  scale_kernel<T><<<static_cast<unsigned>(tiles.count), kSumThreads, 0, stream>>>(params, tiles);
  return cudaGetLastError();
}

template cudaError_t launch_scale<float>(const ScaleParams&, cudaStream_t);
template cudaError_t launch_scale<Half>(const ScaleParams&, cudaStream_t);
template cudaError_t launch_scale<Bfloat16>(const ScaleParams&, cudaStream_t);
template cudaError_t launch_scale<double>(const ScaleParams&, cudaStream_t);

}  // namespace pseudo_iou_ops
