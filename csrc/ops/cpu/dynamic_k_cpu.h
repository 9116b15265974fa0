// The passes of SimOTA and dynamic soft labels on a CPU, each shared out to torch's threads.
#pragma once

#include "../../kernels/dynamic_k_cpu.h"
#include "parallel.h"
#include "top_k_cpu.h"

namespace pseudo_iou_ops {

// The boxes of a task read each prediction once; fewer leave less work without a thread.
constexpr int64_t kSeekersPerTask = 8;

template <class Family>
void run_dynamic_k(const Family& family) {
  const TopKParams& call = family.call();
  clear_claims(call);
  for_each_task_of_points(call, kPointsPerTask,
                          [&](const PointTask& task) { mark_valid_points(family, task); });
  const std::vector<BoxTask> box_tasks = tasks_of_boxes(call, kSeekersPerTask);
  run_tasks_in_parallel(
      static_cast<int64_t>(box_tasks.size()), [&] { return DynamicKWorker<Family>(family); },
      [&](DynamicKWorker<Family>& worker, int64_t task) { worker.choose(box_tasks[task]); });
  for_each_task_of_points(call, kPointsPerTask, [&](const PointTask& task) {
    write_points(call, task, [&](const ClaimedPoint& point) { return judge(family, point); });
    clear_sums(call, task);
  });
}

}  // namespace pseudo_iou_ops
