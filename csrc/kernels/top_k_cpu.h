// What the assigners where boxes choose points share on a CPU. Boxes claim points, in any order; when all
// have, every claim that was not outbid is written out.
#pragma once

#include <algorithm>
#include <atomic>
#include <vector>

#include "../core/candidates.h"
#include "../core/top_k_params.h"
#include "grid_axis.h"

namespace pseudo_iou_ops {

// A few boxes of one image.
struct BoxTask {
  int64_t image;
  Rows rows;
};

inline std::vector<BoxTask> box_tasks(const TopKParams& params, int64_t boxes_per_task) {
  std::vector<BoxTask> tasks;
  for (int64_t image = 0; image < params.num_images; ++image) {
    const Rows rows = image_rows(params.offsets, image, params.num_boxes);
    for (int64_t first = rows.begin; first < rows.end; first += boxes_per_task) {
      tasks.push_back({image, {first, std::min(first + boxes_per_task, rows.end)}});
    }
  }
  return tasks;
}

// A point that a box chose.
struct Pick {
  int level, row, column;
  int64_t point;  // within the image
  int64_t box_row;
  float value;
};

inline std::atomic<int64_t>& as_atomic(int64_t* number) {
  static_assert(sizeof(std::atomic<int64_t>) == sizeof(int64_t), "an atomic integer is a plain one");
  return *reinterpret_cast<std::atomic<int64_t>*>(number);
}

inline void raise_to(int64_t* number, int64_t value) {
  std::atomic<int64_t>& shared = as_atomic(number);
  int64_t current = shared.load(std::memory_order_relaxed);
  while (current < value && !shared.compare_exchange_weak(current, value, std::memory_order_relaxed)) {
  }
}

// Fills the outputs of some images' points with what they are without a box.
inline void fill_background(const TopKParams& params, int64_t first, int64_t count) {
  std::fill_n(params.matched + first, count, kBackground);
  std::fill_n(params.matched_labels + first, count, kBackground);
  std::fill_n(params.ltrb + 4 * first, 4 * count, 0.0f);
  std::fill_n(params.iou + first, count, 0.0f);
  std::fill_n(params.score + first, count, 0.0f);
}

// Lays claim to a point; its label counts the claims, from kBackground on, until it is written.
inline void claim(const TopKParams& params, int64_t image, const Pick& pick) {
  const int64_t output = image * params.num_points + pick.point;
  raise_to(params.matched + output, claim_of(pick.value, pick.box_row));
  as_atomic(params.matched_labels + output).fetch_add(1, std::memory_order_relaxed);
}

inline bool holds_claim(const TopKParams& params, int64_t image, const Pick& pick) {
  return as_atomic(params.matched + image * params.num_points + pick.point).load(std::memory_order_relaxed) ==
         claim_of(pick.value, pick.box_row);
}

// The holder of the claim alone asks, before it writes.
inline bool is_contested(const TopKParams& params, int64_t image, const Pick& pick) {
  return params.matched_labels[image * params.num_points + pick.point] > kBackground + 1;
}

inline void write_positive(const TopKParams& params, int64_t image, const Pick& pick, float score) {
  const int64_t output = image * params.num_points + pick.point;
  const Level& level = params.levels[pick.level];
  const Distances d = distances(load_box(params.boxes, pick.box_row),
                                point_coordinate(pick.column, params.offset, level.stride),
                                point_coordinate(pick.row, params.offset, level.stride));
  as_atomic(params.matched + output).store(pick.box_row, std::memory_order_relaxed);
  params.matched_labels[output] = params.labels[pick.box_row];
  float* ltrb = params.ltrb + 4 * output;
  ltrb[0] = d.l;
  ltrb[1] = d.t;
  ltrb[2] = d.r;
  ltrb[3] = d.b;
  params.iou[output] = pick.value;
  params.score[output] = score;
  as_atomic(params.num_pos + image).fetch_add(1, std::memory_order_relaxed);
  as_atomic(params.pos_per_box + pick.box_row).fetch_add(1, std::memory_order_relaxed);
}

// Ignores the points of an image that are not positive inside a region, and all in the padding, which has no
// positive.
class IgnoredPoints {
 public:
  IgnoredPoints(const TopKParams& params, int64_t image) : params_(params), image_(image) {}

  void write() const {
    for (int index = 0; index < params_.num_levels; ++index) {
      const Level& level = params_.levels[index];
      const Axis x_axis(level.width, params_.offset, level.stride),
          y_axis(level.height, params_.offset, level.stride);
      int64_t* const matched = params_.matched + image_ * params_.num_points + level.first_point;
      int64_t* const labels = params_.matched_labels + image_ * params_.num_points + level.first_point;
      const auto ignore = [&](int64_t point) { matched[point] = labels[point] = kIgnored; };
      if (params_.ignore_boxes != nullptr) {
        for_each_inside(level, x_axis, y_axis, [&](int64_t point) {
          if (matched[point] == kBackground) ignore(point);
        });
      }
      if (params_.valid_sizes == nullptr) continue;
      const int rows = cells_before(y_axis, level.height, params_.valid_sizes[2 * image_]);
      const int columns = cells_before(x_axis, level.width, params_.valid_sizes[2 * image_ + 1]);
      for (int row = 0; row < level.height; ++row) {
        for (int column = row < rows ? columns : 0; column < level.width; ++column) {
          ignore(static_cast<int64_t>(row) * level.width + column);
        }
      }
    }
  }

 private:
  template <class Visit>
  void for_each_inside(const Level& level, const Axis& x_axis, const Axis& y_axis, const Visit& visit) const {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const Rows regions = image_rows(params_.ignore_offsets, image_, params_.num_ignore_boxes);
    for (int64_t region_row = regions.begin; region_row < regions.end; ++region_row) {
      const Box region = load_box(params_.ignore_boxes, region_row);
      if (!is_valid(region)) continue;
      const Cells rows = y_axis.between(region.y1, region.y2, kInfinity);
      const Cells columns = x_axis.between(region.x1, region.x2, kInfinity);
      for (int row = rows.begin; row < rows.end; ++row) {
        for (int column = columns.begin; column < columns.end; ++column) {
          visit(static_cast<int64_t>(row) * level.width + column);
        }
      }
    }
  }

  // A size that is not a number has no padding: a comparison with it is never true.
  static int cells_before(const Axis& axis, int count, float size) {
    return size == size ? axis.first_not_below(size) : count;
  }

  const TopKParams& params_;
  const int64_t image_;
};

}  // namespace pseudo_iou_ops
