// The box losses on a CPU. A task is some points of one level of one image; few of them are positive.
#pragma once

#include <algorithm>
#include <vector>

#include "../core/ltrb_loss_params.h"

namespace pseudo_iou_ops {

constexpr int64_t kPointsPerLtrbTask = 4096;

struct LtrbLossTask {
  int64_t image;
  int level;
  int64_t first_point, last_point;  // within the level
};

inline std::vector<LtrbLossTask> ltrb_loss_tasks(const LtrbLossParams& params) {
  std::vector<LtrbLossTask> tasks;
  for (int64_t image = 0; image < params.head.num_images; ++image) {
    for (int level = 0; level < params.head.num_levels; ++level) {
      const int64_t points = params.head.levels[level].num_points;
      for (int64_t first = 0; first < points; first += kPointsPerLtrbTask) {
        tasks.push_back({image, level, first, std::min(first + kPointsPerLtrbTask, points)});
      }
    }
  }
  return tasks;
}

template <class T>
class LtrbLossWorker {
 public:
  explicit LtrbLossWorker(const LtrbLossParams& params)
      : params_(params), scale_(inverse_normalizer(params.normalizer)) {}

  // The task's share of the loss.
  double run(const LtrbLossTask& task) const {
    double total = 0;
    for (int64_t point = task.first_point; point < task.last_point; ++point) {
      total += run_ltrb_point<T>(params_, params_.head.levels[task.level], task.image, point, scale_);
    }
    return total;
  }

 private:
  const LtrbLossParams& params_;
  const float scale_;
};

}  // namespace pseudo_iou_ops
