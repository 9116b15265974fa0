#include "../../kernels/sim_ota_cpu.h"

#include "../dispatch.h"
#include "../sim_ota.h"
#include "dynamic_k_cpu.h"

namespace pseudo_iou_ops {
namespace {

struct Cpu {
  static void run(const SimOtaParams& params, ScalarType box_type, const CallArguments&) {
    dispatch_floating("pred_boxes", box_type,
                      [&](auto tag) { run_dynamic_k(SimOtaFamily<typename decltype(tag)::type>(params)); });
  }
};

STABLE_TORCH_LIBRARY_IMPL(pseudo_iou_ops, CPU, m) {
  m.impl("assign_sim_ota", TORCH_BOX(assign_sim_ota<Cpu>));
  m.impl("assign_sim_ota.out", TORCH_BOX(assign_sim_ota_out<Cpu>));
}

}  // namespace
}  // namespace pseudo_iou_ops
