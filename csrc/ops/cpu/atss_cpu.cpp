#include "../../kernels/atss_cpu.h"

#include "../atss.h"
#include "top_k_cpu.h"

namespace pseudo_iou_ops {
namespace {

constexpr int64_t kBoxesPerTask = 32;

struct Cpu {
  static void run(const TopKParams& params, const AtssRule& rule, const TopKArguments&) {
    clear_claims(params);
    const std::vector<BoxTask> box_tasks = tasks_of_boxes(params, kBoxesPerTask);
    run_tasks_in_parallel(
        static_cast<int64_t>(box_tasks.size()), [&] { return AtssWorker(params, rule); },
        [&](AtssWorker& worker, int64_t task) { worker.choose(box_tasks[task]); });
    const auto judge = [&](const ClaimedPoint& point) -> Verdict {
      if (!rule.all_boxes_compete || !point.is_contested) return {point.claim, 1.0f};
      const Rows rows = image_rows(params.offsets, point.image, params.num_boxes);
      return {strongest_claim(params, rule, rows, point.stride, point.x, point.y), 1.0f};
    };
    write_claims(params, judge);
  }
};

STABLE_TORCH_LIBRARY_IMPL(pseudo_iou_ops, CPU, m) {
  m.impl("assign_atss", TORCH_BOX(assign_atss<Cpu>));
  m.impl("assign_atss.out", TORCH_BOX(assign_atss_out<Cpu>));
}

}  // namespace
}  // namespace pseudo_iou_ops
