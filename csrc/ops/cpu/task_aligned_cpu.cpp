#include "../../kernels/task_aligned_cpu.h"

#include "../dispatch.h"
#include "../task_aligned.h"
#include "parallel.h"

namespace pseudo_iou_ops {
namespace {

constexpr int64_t kBoxesPerTask = 4;

template <class T>
void run_kernel(const TaskAlignedParams& params) {
  const TopKParams& call = params.call;
  clear_claims(call);
  const auto make_worker = [&] { return TaskAlignedWorker<T>(params); };
  const std::vector<BoxTask> box_tasks = tasks_of_boxes(call, kBoxesPerTask);
  run_tasks_in_parallel(static_cast<int64_t>(box_tasks.size()), make_worker,
                        [&](TaskAlignedWorker<T>& worker, int64_t task) { worker.choose(box_tasks[task]); });
  run_tasks_in_parallel(call.num_images, make_worker,
                        [](TaskAlignedWorker<T>& worker, int64_t image) { worker.resolve(image); });
  const auto judge = [&](const ClaimedPoint& point) -> Verdict {
    return {row_of_claim(point.claim), value_of_claim(point.claim), call.score[point.output]};
  };
  const std::vector<PointTask> tasks = point_tasks(call);
  run_tasks_in_parallel(
      static_cast<int64_t>(tasks.size()), [] { return 0; },
      [&](int, int64_t task) { write_points(call, tasks[task], judge); });
}

struct Cpu {
  static void run(const TaskAlignedParams& params, ScalarType box_type, const TopKArguments&) {
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
