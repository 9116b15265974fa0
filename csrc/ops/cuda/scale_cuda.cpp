#include "../scale.h"
#include "launching.h"

namespace pseudo_iou_ops {
namespace {

struct Cuda {
  static void run(const ScaleParams& params, ScalarType dtype, const Tensor& tensor) {
    const torch::stable::accelerator::DeviceGuard guard(tensor.get_device_index());
    dispatch_floating("tensors", dtype, [&](auto tag) {
      check_cuda("scale_", launch_scale<typename decltype(tag)::type>(params, current_stream(tensor)));
    });
  }
};

STABLE_TORCH_LIBRARY_IMPL(pseudo_iou_ops, CUDA, m) { m.impl("scale_", TORCH_BOX(&scale<Cuda>)); }

}  // namespace
}  // namespace pseudo_iou_ops
