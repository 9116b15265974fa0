// Tasks shared out to torch's threads.
#pragma once

#include <algorithm>
#include <atomic>

#include "../stable.h"

namespace pseudo_iou_ops {

// Every thread makes a worker, then takes tasks from one queue: worker.run(task) for task in [0, tasks).
template <class MakeWorker, class Run>
void run_tasks_in_parallel(int64_t tasks, const MakeWorker& make_worker, const Run& run) {
  if (tasks == 0) return;
  std::atomic<int64_t> next_task{0};
  const int64_t threads = std::min<int64_t>(torch::stable::get_num_threads(), tasks);
  torch::stable::parallel_for(0, threads, 1, [&](int64_t, int64_t) {
    auto worker = make_worker();
    for (int64_t task; (task = next_task.fetch_add(1, std::memory_order_relaxed)) < tasks;) run(worker, task);
  });
}

// The sum of what worker.run(task) returns, in the order of the tasks whichever thread ran them.
template <class MakeWorker, class Task>
double sum_tasks(const std::vector<Task>& tasks, const MakeWorker& make_worker) {
  std::vector<double> parts(tasks.size());
  run_tasks_in_parallel(static_cast<int64_t>(tasks.size()), make_worker,
                        [&](auto& worker, int64_t task) { parts[task] = worker.run(tasks[task]); });
  double sum = 0;
  for (const double part : parts) sum += part;
  return sum;
}

}  // namespace pseudo_iou_ops
