#include "../../launch/task_aligned.h"

#include "../task_aligned.h"
#include "launching.h"

namespace pseudo_iou_ops {
namespace {

// The kernels count the points of an image in 32 bits.
constexpr int64_t kMostPoints = int64_t{1} << 30;

struct Cuda {
  static void run(const TaskAlignedParams& params, ScalarType, const TopKArguments& arguments) {
    const TopKParams& call = params.call;
    check_alignment("ltrb", call.ltrb, 4 * sizeof(float));
    STD_TORCH_CHECK(
        (!call.offsets_on_host && !call.ignore_offsets_on_host) || call.num_images <= kMaxImagesByValue,
        "offsets: expected a CUDA tensor for more than ", kMaxImagesByValue, " images, got a CPU tensor");
    STD_TORCH_CHECK(call.num_points <= kMostPoints, "level_shapes: expected at most ", kMostPoints,
                    " points on CUDA, got ", call.num_points);
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
