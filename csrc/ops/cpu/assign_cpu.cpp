#include <algorithm>

#include "../../kernels/assign_cpu.h"
#include "../assign.h"

namespace pseudo_iou_ops {
namespace {

struct Cpu {
  static void run(const AssignParams& params, const AssignArguments&) {
    std::fill_n(params.num_pos, params.num_images, int64_t{0});
    std::fill_n(params.pos_per_box, params.num_boxes, int64_t{0});
    const int64_t tasks = num_tasks(params);
    if (tasks == 0) return;
    std::atomic<int64_t> next_task{0};
    const int64_t threads = std::min<int64_t>(torch::stable::get_num_threads(), tasks);
    torch::stable::parallel_for(0, threads, 1, [&](int64_t, int64_t) {
      if (params.rule.judges_every_candidate()) {
        run_tasks<JudgeBoard>(params, next_task, tasks);
      } else {
        run_tasks<PaintedBoard>(params, next_task, tasks);
      }
    });
  }
};

STABLE_TORCH_LIBRARY_IMPL(pseudo_iou_ops, CPU, m) {
  m.impl("assign", TORCH_BOX(&assign<Cpu>));
  m.impl("assign.out", TORCH_BOX(&assign_out<Cpu>));
}

}  // namespace
}  // namespace pseudo_iou_ops
