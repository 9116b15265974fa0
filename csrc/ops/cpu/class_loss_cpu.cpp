#include "../../kernels/class_loss_cpu.h"
#include "../class_loss.h"
#include "parallel.h"

namespace pseudo_iou_ops {
namespace {

struct Cpu {
  static void run(const ClassLossParams& params, ScalarType dtype, const Tensor& loss) {
    dispatch_floating("logits", dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      const double sum = sum_tasks(class_loss_tasks(params), [&] { return ClassLossWorker<T>(params); });
      *static_cast<Compute<T>*>(loss.mutable_data_ptr()) = static_cast<Compute<T>>(sum);
    });
  }
};

STABLE_TORCH_LIBRARY_IMPL(pseudo_iou_ops, CPU, m) { m.impl("class_loss", TORCH_BOX(&class_loss<Cpu>)); }

}  // namespace
}  // namespace pseudo_iou_ops
