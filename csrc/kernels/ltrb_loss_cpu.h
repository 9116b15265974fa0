// The box losses on a CPU. A task is some points of one level of one image; few of them are positive.
#pragma once

#include "head_tasks.h"
#include "ltrb_loss.h"

namespace pseudo_iou_ops {

constexpr int64_t kPointsPerLtrbTask = 4096;

inline std::vector<HeadTask> ltrb_loss_tasks(const LtrbLossParams& params) {
  return head_tasks(params.head, [](const HeadLevel&) { return kPointsPerLtrbTask; });
}

template <class T>
class LtrbLossWorker {
 public:
  explicit LtrbLossWorker(const LtrbLossParams& params)
      : params_(params), scale_(inverse_normalizer<Compute<T>>(params.normalizer)) {}

  // The task's share of the loss.
  double run(const HeadTask& task) const {
    double total = 0;
    for (int64_t point = task.first_point; point < task.last_point; ++point) {
      total += run_ltrb_point<T>(params_, params_.head.levels[task.level], task.image, point, scale_);
    }
    return total;
  }

 private:
  const LtrbLossParams& params_;
  const Compute<T> scale_;
};

}  // namespace pseudo_iou_ops
