#include "../class_loss.h"
#include "launching.h"

namespace pseudo_iou_ops {
namespace {

struct Cuda {
  static void run(const ClassLossParams& params, ScalarType dtype, const Tensor& loss) {
    const torch::stable::accelerator::DeviceGuard guard(loss.get_device_index());
    dispatch_floating("logits", dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      using Real = Compute<T>;
      const Tensor parts = empty_parts(loss, class_loss_parts<T>(params));
      check_cuda("class_loss",
                 launch_class_loss<T>(params, static_cast<Real*>(parts.mutable_data_ptr()),
                                      static_cast<Real*>(loss.mutable_data_ptr()), current_stream(loss)));
    });
  }
};

STABLE_TORCH_LIBRARY_IMPL(pseudo_iou_ops, CUDA, m) { m.impl("class_loss", TORCH_BOX(&class_loss<Cuda>)); }

}  // namespace
}  // namespace pseudo_iou_ops
