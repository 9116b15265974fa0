#include "../../kernels/ltrb_loss_cpu.h"
#include "../ltrb_loss.h"
#include "parallel.h"

namespace pseudo_iou_ops {
namespace {

struct Cpu {
  static void run(const LtrbLossParams& params, ScalarType dtype, const Tensor& loss) {
    dispatch_floating("predictions", dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      const double sum = sum_tasks(ltrb_loss_tasks(params), [&] { return LtrbLossWorker<T>(params); });
      *static_cast<Compute<T>*>(loss.mutable_data_ptr()) = static_cast<Compute<T>>(sum);
    });
  }
};

STABLE_TORCH_LIBRARY_IMPL(pseudo_iou_ops, CPU, m) { m.impl("ltrb_loss", TORCH_BOX(&ltrb_loss<Cpu>)); }

}  // namespace
}  // namespace pseudo_iou_ops
