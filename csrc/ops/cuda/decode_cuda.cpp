#include "../decode.h"
#include "launching.h"

namespace pseudo_iou_ops {
namespace {

struct Cuda {
  static void run(const DecodeParams& params, ScalarType dtype, const Tensor& counts) {
    const torch::stable::accelerator::DeviceGuard guard(counts.get_device_index());
    const cudaStream_t stream = current_stream(counts);
    const Tensor keys = empty(counts, {decode_scratch_keys(params)}, ScalarType::Long);
    check_cuda("decode_topk", cudaMemsetAsync(params.counts, 0, counts.numel() * sizeof(int64_t), stream));
    dispatch_floating("logits", dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      check_cuda("decode_topk", launch_decode<T>(params, keys.mutable_data_ptr<int64_t>(), stream));
    });
  }
};

STABLE_TORCH_LIBRARY_IMPL(pseudo_iou_ops, CUDA, m) { m.impl("decode_topk", TORCH_BOX(&decode_topk<Cuda>)); }

}  // namespace
}  // namespace pseudo_iou_ops
