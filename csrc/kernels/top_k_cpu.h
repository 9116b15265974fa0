// What the assigners where boxes choose points share on a CPU. Boxes lay claim to points, in any order; when
// all have, every point is written.
#pragma once

#include <algorithm>
#include <atomic>
#include <vector>

#include "../core/candidates.h"
#include "../core/top_k_params.h"
#include "ignore_cpu.h"
#include "point_tasks.h"

namespace pseudo_iou_ops {

// A few boxes of one image.
struct BoxTask {
  int64_t image, first_row, last_row;
};

inline std::vector<BoxTask> tasks_of_boxes(const TopKParams& params, int64_t boxes_per_task) {
  std::vector<BoxTask> tasks;
  for (int64_t image = 0; image < params.num_images; ++image) {
    const Rows rows = image_rows(params.offsets, image, params.num_boxes);
    for (int64_t first = rows.begin; first < rows.end; first += boxes_per_task) {
      tasks.push_back({image, first, std::min<int64_t>(first + boxes_per_task, rows.end)});
    }
  }
  return tasks;
}

// Before the boxes come: no counts,
inline void clear_counts(const TopKParams& params) {
  std::fill_n(params.num_pos, params.num_images, int64_t{0});
  std::fill_n(params.pos_per_box, params.num_boxes, int64_t{0});
}

// and no claims on the points of a task.
inline void clear_points(const TopKParams& params, const PointTask& task) {
  const int64_t first_output = first_output_of(params, task), points = grid_of(params, task).num_points();
  std::fill_n(params.matched + first_output, points, kBackground);
  std::fill_n(params.matched_labels + first_output, points, kBackground);
  std::fill_n(params.ltrb + 4 * first_output, 4 * points, 0.0f);
  std::fill_n(params.iou + first_output, points, 0.0f);
  std::fill_n(params.score + first_output, points, 0.0f);
}

// Threads raise a shared number to the largest of their values, in whatever order they come.
template <class Integer>
void raise_to(Integer* number, Integer value) {
  static_assert(sizeof(std::atomic<Integer>) == sizeof(Integer), "shared numbers are plain integers");
  auto* const shared = reinterpret_cast<std::atomic<Integer>*>(number);
  Integer current = shared->load(std::memory_order_relaxed);
  while (current < value && !shared->compare_exchange_weak(current, value, std::memory_order_relaxed)) {
  }
}

// Lays claim to a point; its label counts the claims, from kBackground on, until it is written.
inline void lay_claim(const TopKParams& params, int64_t output, int64_t claim) {
  raise_to(params.matched + output, claim);
  add_count(params.matched_labels + output, 1);
}

inline bool are_eight_negative(const int64_t* numbers) {
  int64_t sign = numbers[0];
  for (int i = 1; i < 8; ++i) sign &= numbers[i];
  return sign < 0;
}

// A point that boxes laid claim to: the strongest claim, and whether there were others.
struct ClaimedPoint {
  int64_t image, output;
  int level;
  float x, y;
  int64_t claim;
  bool is_contested;
};

// What a claimed point becomes.
struct Verdict {
  int64_t box_row;
  float iou, score;
};

inline void write_positive(const TopKParams& params, const ClaimedPoint& point, const Verdict& verdict) {
  const int64_t output = point.output;
  const Distances d = distances(load_box(params.boxes, verdict.box_row), point.x, point.y);
  params.matched[output] = verdict.box_row;
  params.matched_labels[output] = params.labels[verdict.box_row];
  float* ltrb = params.ltrb + 4 * output;
  ltrb[0] = d.l;
  ltrb[1] = d.t;
  ltrb[2] = d.r;
  ltrb[3] = d.b;
  params.iou[output] = verdict.iou;
  params.score[output] = verdict.score;
}

// Calls visit(point) for the points of a task that boxes laid claim to, in their order. Few are: eight that
// none did are passed over at once.
template <class Visit>
void for_each_claimed(const TopKParams& params, const PointTask& task, const Visit& visit) {
  const Grid grid = grid_of(params, task);
  for (int row = task.first_row; row < task.last_row; ++row) {
    const int64_t first_output = first_output_of(params, task) + grid.row_start(row);
    const int64_t* claims = params.matched + first_output;
    for (int column = 0; column < grid.level.width; ++column) {
      while (column + 8 <= grid.level.width && are_eight_negative(claims + column)) column += 8;
      if (column == grid.level.width || claims[column] < 0) continue;
      const int64_t output = first_output + column;
      visit(ClaimedPoint{task.image, output, task.level, grid.x_axis.coordinate(column),
                         grid.y_axis.coordinate(row), claims[column],
                         params.matched_labels[output] > kBackground + 1});
    }
  }
}

// Writes the points of a task when all boxes have laid their claims; judge(point) returns the verdict on a
// claimed one.
template <class Judge>
void write_points(const TopKParams& params, const PointTask& task, const Judge& judge) {
  PositiveCounter counter(params, task.image);
  for_each_claimed(params, task, [&](const ClaimedPoint& point) {
    write_positive(params, point, judge(point));
    counter.add(params.matched[point.output]);
  });
  const Grid grid = grid_of(params, task);
  const ValidCells valid = valid_cells(params, task.image, task.level);
  IgnoredPoints(params, task.image, grid, valid, first_output_of(params, task)).write();
}

}  // namespace pseudo_iou_ops
