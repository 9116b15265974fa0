// The points of a call in tasks for the threads of a CPU, and how a task counts its positives.
#pragma once

#include <algorithm>
#include <atomic>
#include <vector>

#include "../core/assign_params.h"
#include "grid_axis.h"

namespace pseudo_iou_ops {

// Smaller tasks look at the boxes more often; larger ones leave threads without work.
constexpr int kPointsPerTask = 16384;

struct PointTask {
  int64_t image;
  int level;
  int first_row, last_row;
};

inline std::vector<PointTask> point_tasks(const CallParams& params, int points_per_task = kPointsPerTask) {
  std::vector<PointTask> tasks;
  for (int64_t image = 0; image < params.num_images; ++image) {
    for (int level = 0; level < params.num_levels; ++level) {
      const int height = params.levels[level].height, width = params.levels[level].width;
      if (width == 0) continue;
      const int rows = std::max(1, points_per_task / width);
      for (int first = 0, last; first < height; first = last) {
        last = first + std::min(rows, height - first);
        tasks.push_back({image, level, first, last});
      }
    }
  }
  return tasks;
}

inline Grid grid_of(const CallParams& params, const PointTask& task) {
  const Level& level = params.levels[task.level];
  return {level, Axis(level.width, params.offset, level.stride),
          Axis(level.height, params.offset, level.stride), task.first_row, task.last_row};
}

inline Grid whole_level(const CallParams& params, int level) {
  return grid_of(params, {0, level, 0, params.levels[level].height});
}

// The place of a task's first point in the outputs.
inline int64_t first_output_of(const CallParams& params, const PointTask& task) {
  const Level& level = params.levels[task.level];
  return task.image * params.num_points + level.first_point +
         static_cast<int64_t>(task.first_row) * level.width;
}

inline void add_count(int64_t* counter, int64_t count) {
  static_assert(sizeof(std::atomic<int64_t>) == sizeof(int64_t), "counters are plain integers");
  reinterpret_cast<std::atomic<int64_t>*>(counter)->fetch_add(count, std::memory_order_relaxed);
}

// Counts the positives of a task. Neighbours share a box: one atomic addition a run of them, not a point.
class PositiveCounter {
 public:
  PositiveCounter(const CallParams& params, int64_t image) : params_(params), image_(image) {}
  PositiveCounter(const PositiveCounter&) = delete;
  PositiveCounter& operator=(const PositiveCounter&) = delete;
  ~PositiveCounter() {
    end_run();
    if (positives_ > 0) add_count(params_.num_pos + image_, positives_);
  }

  // Counts one positive point of a box.
  void add(int64_t row) {
    if (row != row_) {
      end_run();
      row_ = row;
    }
    ++run_;
  }

 private:
  void end_run() {
    if (run_ > 0) add_count(params_.pos_per_box + row_, run_);
    positives_ += run_;
    run_ = 0;
  }

  const CallParams& params_;
  int64_t image_;
  int64_t row_ = -1, run_ = 0, positives_ = 0;
};

}  // namespace pseudo_iou_ops
