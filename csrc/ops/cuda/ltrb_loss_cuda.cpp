#include "../ltrb_loss.h"
#include "launching.h"

namespace pseudo_iou_ops {
namespace {

struct Cuda {
  static void run(const LtrbLossParams& params, ScalarType dtype, const Tensor& loss) {
    const torch::stable::accelerator::DeviceGuard guard(loss.get_device_index());
    dispatch_floating("predictions", dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      using Real = Compute<T>;
      const Tensor parts = empty_parts(loss, ltrb_loss_parts(params));
      check_cuda("ltrb_loss",
                 launch_ltrb_loss<T>(params, static_cast<Real*>(parts.mutable_data_ptr()),
                                     static_cast<Real*>(loss.mutable_data_ptr()), current_stream(loss)));
    });
  }
};

STABLE_TORCH_LIBRARY_IMPL(pseudo_iou_ops, CUDA, m) { m.impl("ltrb_loss", TORCH_BOX(&ltrb_loss<Cuda>)); }

}  // namespace
}  // namespace pseudo_iou_ops
