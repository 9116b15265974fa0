#include "../../launch/atss.h"

#include "../atss.h"
#include "launching.h"

namespace pseudo_iou_ops {
namespace {

struct Cuda {
  static void run(const TopKParams& params, const AtssRule& rule, const TopKArguments& arguments) {
    check_alignment("ltrb", params.ltrb, 4 * sizeof(float));
    STD_TORCH_CHECK(
        (!params.offsets_on_host && !params.ignore_offsets_on_host) || params.num_images <= kMaxImagesByValue,
        "offsets: expected a CUDA tensor for more than ", kMaxImagesByValue, " images, got a CPU tensor");
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
