#include "../../kernels/atss_cpu.h"

#include "../atss.h"
#include "top_k_cpu.h"

namespace pseudo_iou_ops {
namespace {

constexpr int64_t kBoxesPerTask = 32;

struct Cpu {
  static void run(const TopKParams& params, const AtssRule& rule, const CallArguments&) {
    clear_claims(params);
    const std::vector<BoxTask> box_tasks = tasks_of_boxes(params, kBoxesPerTask);
    run_tasks_in_parallel(
        static_cast<int64_t>(box_tasks.size()), [&] { return AtssWorker(params, rule); },
        [&](AtssWorker& worker, int64_t task) { worker.choose(box_tasks[task]); });
    if (rule.all_boxes_compete) {
      for_each_task_of_points(params, kPointsPerContest,
                              [&](const PointTask& task) { hold_atss_contests(params, rule, task); });
    }
    write_claims(params, [](const ClaimedPoint& point) -> Verdict {
      return {row_of_claim(point.claim), value_of_claim(point.claim), 1.0f};
    });
  }
};

STABLE_TORCH_LIBRARY_IMPL(pseudo_iou_ops, CPU, m) {
  m.impl("assign_atss", TORCH_BOX(assign_atss<Cpu>));
  m.impl("assign_atss.out", TORCH_BOX(assign_atss_out<Cpu>));
}

}  // namespace
}  // namespace pseudo_iou_ops
