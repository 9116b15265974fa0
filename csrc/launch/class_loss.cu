#include "../kernels/class_loss.cuh"
#include "launch.h"

namespace pseudo_iou_ops {

template <class T>
int64_t class_loss_parts(const ClassLossParams& params) {
  return class_loss_tiles<T>(params).tiles_per_image * params.head.num_images;
}

template <class T>
cudaError_t launch_class_loss(const ClassLossParams& params, Compute<T>* parts, Compute<T>* loss,
                              cudaStream_t stream) {
  const ClassLossTiles tiles = class_loss_tiles<T>(params);
  const int64_t count = tiles.tiles_per_image * params.head.num_images;
  if (count > 0) {
    const auto kernel = params.exponent == 2 ? class_loss_kernel<T, true> : class_loss_kernel<T, false>;
    kernel<<<static_cast<unsigned>(count), kSumThreads, 0, stream>>>(params, tiles, parts);
  }
  sum_parts_kernel<<<1, kSumThreads, 0, stream>>>(parts, count, loss);
  return cudaGetLastError();
}

template int64_t class_loss_parts<float>(const ClassLossParams&);
template int64_t class_loss_parts<Half>(const ClassLossParams&);
template int64_t class_loss_parts<Bfloat16>(const ClassLossParams&);
template int64_t class_loss_parts<double>(const ClassLossParams&);
template cudaError_t launch_class_loss<float>(const ClassLossParams&, float*, float*, cudaStream_t);
template cudaError_t launch_class_loss<Half>(const ClassLossParams&, float*, float*, cudaStream_t);
template cudaError_t launch_class_loss<Bfloat16>(const ClassLossParams&, float*, float*, cudaStream_t);
template cudaError_t launch_class_loss<double>(const ClassLossParams&, double*, double*, cudaStream_t);

}  // namespace pseudo_iou_ops
