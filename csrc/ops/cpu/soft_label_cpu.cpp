#include "../../kernels/soft_label_cpu.h"

#include "../dispatch.h"
#include "../soft_label.h"
#include "dynamic_k_cpu.h"

namespace pseudo_iou_ops {
namespace {

struct Cpu {
  static void run(const SoftLabelParams& params, ScalarType box_type, const CallArguments&) {
    dispatch_floating("pred_boxes", box_type, [&](auto tag) {
      run_dynamic_k(SoftLabelFamily<typename decltype(tag)::type>(params));
    });
  }
};

STABLE_TORCH_LIBRARY_IMPL(pseudo_iou_ops, CPU, m) {
  m.impl("assign_soft_label", TORCH_BOX(assign_soft_label<Cpu>));
  m.impl("assign_soft_label.out", TORCH_BOX(assign_soft_label_out<Cpu>));
}

}  // namespace
}  // namespace pseudo_iou_ops
