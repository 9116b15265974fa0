#include "../../kernels/assign_cpu.h"
#include "../assign.h"
#include "parallel.h"

namespace pseudo_iou_ops {
namespace {

template <class Board>
void run_tasks(const AssignParams& params) {
  const std::vector<PointTask> tasks = point_tasks(params);
  run_tasks_in_parallel(
      static_cast<int64_t>(tasks.size()), [&] { return AssignWorker<Board>(params); },
      [&](AssignWorker<Board>& worker, int64_t task) { worker.run(tasks[task]); });
}

struct Cpu {
  static void run(const AssignParams& params, const CallArguments&) {
    std::fill_n(params.num_pos, params.num_images, int64_t{0});
    std::fill_n(params.pos_per_box, params.num_boxes, int64_t{0});
    params.rule.judges_every_candidate() ? run_tasks<JudgeBoard>(params) : run_tasks<PaintedBoard>(params);
  }
};

STABLE_TORCH_LIBRARY_IMPL(pseudo_iou_ops, CPU, m) {
  m.impl("assign", TORCH_BOX(assign<Cpu>));
  m.impl("assign.out", TORCH_BOX(assign_out<Cpu>));
}

}  // namespace
}  // namespace pseudo_iou_ops
