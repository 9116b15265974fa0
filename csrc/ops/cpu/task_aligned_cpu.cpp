#include "../../kernels/task_aligned_judge_cpu.h"

#include "../dispatch.h"
#include "../task_aligned.h"
#include "top_k_cpu.h"

namespace pseudo_iou_ops {
namespace {

constexpr int64_t kBoxesPerTask = 4;

template <class T>
void run_kernel(const TaskAlignedParams& params) {
  clear_claims(params.call);
  const std::vector<BoxTask> box_tasks = tasks_of_boxes(params.call, kBoxesPerTask);
  run_tasks_in_parallel(
      static_cast<int64_t>(box_tasks.size()), [&] { return TaskAlignedChooser<T>(params); },
      [&](TaskAlignedChooser<T>& chooser, int64_t task) { chooser.choose(box_tasks[task]); });
  MaximaOfImages maxima(params.call);
  const std::vector<PointTask> contests = point_tasks(params.call, kPointsPerContest);
  run_tasks_in_parallel(
      static_cast<int64_t>(contests.size()), [&] { return TaskAlignedJudge<T>(params, maxima); },
      [&](TaskAlignedJudge<T>& judge, int64_t task) { judge.judge(contests[task]); });
  if (params.rule.keep > 0) {
    run_tasks_in_parallel(
        params.call.num_images, [&] { return TaskAlignedKeeper(params, maxima); },
        [](TaskAlignedKeeper& keeper, int64_t image) { keeper.keep(image); });
  }
  write_claims(params.call,
               [&](const ClaimedPoint& point) { return task_aligned_verdict(params, maxima, point); });
}

struct Cpu {
  static void run(const TaskAlignedParams& params, ScalarType box_type, const CallArguments&) {
    dispatch_floating("pred_boxes", box_type,
                      [&](auto tag) { run_kernel<typename decltype(tag)::type>(params); });
  }
};

STABLE_TORCH_LIBRARY_IMPL(pseudo_iou_ops, CPU, m) {
  m.impl("assign_task_aligned", TORCH_BOX(assign_task_aligned<Cpu>));
  m.impl("assign_task_aligned.out", TORCH_BOX(assign_task_aligned_out<Cpu>));
}

}  // namespace
}  // namespace pseudo_iou_ops
