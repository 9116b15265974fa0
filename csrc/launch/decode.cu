#include "../kernels/decode.cuh"
#include "launch.h"

namespace pseudo_iou_ops {

int64_t decode_scratch_keys(const DecodeParams& params) {
  return decode_tiles<float>(params).keys_per_image * params.logits.num_images;
}

template <class T>
cudaError_t launch_decode(const DecodeParams& params, int64_t* keys, cudaStream_t stream) {
  const DecodeTiles tiles = decode_tiles<T>(params);
  const int64_t blocks = tiles.tiles_per_image * params.logits.num_images;
  const int64_t slices = params.logits.num_levels * params.logits.num_images;
  Key* const lists = reinterpret_cast<Key*>(keys);
  if (blocks > 0) {
    decode_filter_kernel<T>
        <<<static_cast<unsigned>(blocks), kFilterThreads, 0, stream>>>(params, tiles, lists);
  }
  decode_select_kernel<T><<<static_cast<unsigned>(slices), kSelectThreads, 0, stream>>>(params, tiles, lists);
  return cudaGetLastError();
}

template cudaError_t launch_decode<float>(const DecodeParams&, int64_t*, cudaStream_t);
template cudaError_t launch_decode<Half>(const DecodeParams&, int64_t*, cudaStream_t);
template cudaError_t launch_decode<Bfloat16>(const DecodeParams&, int64_t*, cudaStream_t);
template cudaError_t launch_decode<double>(const DecodeParams&, int64_t*, cudaStream_t);

}  // namespace pseudo_iou_ops
