#include "../atss.h"
#include "launching.h"

namespace pseudo_iou_ops {
namespace {

struct Cuda {
  static void run(const TopKParams& params, const AtssRule& rule, const CallArguments& arguments) {
    check_assignment(params);
    const torch::stable::accelerator::DeviceGuard guard(arguments.boxes.get_device_index());
    check_cuda("assign_atss", launch_atss(params, rule, current_stream(arguments.boxes)));
  }
};

STABLE_TORCH_LIBRARY_IMPL(pseudo_iou_ops, CUDA, m) {
  m.impl("assign_atss", TORCH_BOX(assign_atss<Cuda>));
  m.impl("assign_atss.out", TORCH_BOX(assign_atss_out<Cuda>));
}

}  // namespace
}  // namespace pseudo_iou_ops
