// The first and the last pass over the points, which all assigners where boxes choose points share on a CPU.
#pragma once

#include "../../kernels/top_k_cpu.h"
#include "parallel.h"

namespace pseudo_iou_ops {

constexpr int kPointsPerContest = 2048;  // small: one image can be far more crowded than the others

template <class Run>
void for_each_task_of_points(const TopKParams& params, int points_per_task, const Run& run) {
  const std::vector<PointTask> tasks = point_tasks(params, points_per_task);
  run_tasks_in_parallel(
      static_cast<int64_t>(tasks.size()), [] { return 0; }, [&](int, int64_t task) { run(tasks[task]); });
}

// Before the boxes come: no claims, no counts.
inline void clear_claims(const TopKParams& params) {
  clear_counts(params);
  for_each_task_of_points(params, kPointsPerTask, [&](const PointTask& task) { clear_points(params, task); });
}

// When all boxes have laid their claims; judge(point) returns the verdict on a claimed one.
template <class Judge>
void write_claims(const TopKParams& params, const Judge& judge) {
  for_each_task_of_points(params, kPointsPerTask,
                          [&](const PointTask& task) { write_points(params, task, judge); });
}

}  // namespace pseudo_iou_ops
