#include "../sim_ota.h"
#include "../soft_label.h"
#include "launching.h"

namespace pseudo_iou_ops {
namespace {

template <class Params>
void run_kernels(const char* op, cudaError_t (*launch)(const Params&, cudaStream_t), const Params& params,
                 const Tensor& boxes) {
  const TopKParams& call = params.call;
  check_assignment(call);
  check_points_of_image(call);
  const torch::stable::accelerator::DeviceGuard guard(boxes.get_device_index());
  check_cuda(op, launch(params, current_stream(boxes)));
}

struct Cuda {
  static void run(const SimOtaParams& params, ScalarType, const CallArguments& arguments) {
    run_kernels("assign_sim_ota", launch_sim_ota, params, arguments.boxes);
  }

  static void run(const SoftLabelParams& params, ScalarType, const CallArguments& arguments) {
    run_kernels("assign_soft_label", launch_soft_label, params, arguments.boxes);
  }
};

STABLE_TORCH_LIBRARY_IMPL(pseudo_iou_ops, CUDA, m) {
  m.impl("assign_sim_ota", TORCH_BOX(assign_sim_ota<Cuda>));
  m.impl("assign_sim_ota.out", TORCH_BOX(assign_sim_ota_out<Cuda>));
  m.impl("assign_soft_label", TORCH_BOX(assign_soft_label<Cuda>));
  m.impl("assign_soft_label.out", TORCH_BOX(assign_soft_label_out<Cuda>));
}

}  // namespace
}  // namespace pseudo_iou_ops
