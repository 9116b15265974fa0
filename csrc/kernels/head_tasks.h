// How the CPU kernels of the losses share out the points of a head.
#pragma once

#include <algorithm>
#include <vector>

#include "../core/head.h"

namespace pseudo_iou_ops {

struct HeadTask {
  int64_t image;
  int level;
  int64_t first_point, last_point;  // within the level
};

// Tasks of points_per_task(level) points.
template <class PointsPerTask>
std::vector<HeadTask> head_tasks(const Head& head, const PointsPerTask& points_per_task) {
  std::vector<HeadTask> tasks;
  for (int64_t image = 0; image < head.num_images; ++image) {
    for (int level = 0; level < head.num_levels; ++level) {
      const int64_t points = head.levels[level].num_points, step = points_per_task(head.levels[level]);
      for (int64_t first = 0; first < points; first += step) {
        tasks.push_back({image, level, first, std::min(first + step, points)});
      }
    }
  }
  return tasks;
}

}  // namespace pseudo_iou_ops
