#include "../task_aligned.h"
#include "launching.h"

namespace pseudo_iou_ops {
namespace {

struct Cuda {
  static void run(const TaskAlignedParams& params, ScalarType, const CallArguments& arguments) {
    const TopKParams& call = params.call;
    check_assignment(call);
    check_points_of_image(call);
    const torch::stable::accelerator::DeviceGuard guard(arguments.boxes.get_device_index());
    const Tensor scratch = empty(arguments.boxes, {call.num_boxes}, ScalarType::Long);
    check_cuda("assign_task_aligned", launch_task_aligned(params, scratch.mutable_data_ptr<int64_t>(),
                                                          current_stream(arguments.boxes)));
  }
};

STABLE_TORCH_LIBRARY_IMPL(pseudo_iou_ops, CUDA, m) {
  m.impl("assign_task_aligned", TORCH_BOX(assign_task_aligned<Cuda>));
  m.impl("assign_task_aligned.out", TORCH_BOX(assign_task_aligned_out<Cuda>));
}

}  // namespace
}  // namespace pseudo_iou_ops
