// Task-aligned assignment on a CPU. A box visits the points inside it, and asks for a score only where the
// overlap alone could earn a place among its best: a score is at most 1, and rounding keeps that order.
#pragma once

#include "best_points.h"
#include "overlap_cpu.h"
#include "task_aligned.h"
#include "top_k_cpu.h"

namespace pseudo_iou_ops {

// Not a number, which counts as 0, for a class that the head does not have.
inline float class_score(const TaskAlignedParams& params, const HeadPoint& at, int64_t box_row) {
  const int64_t label = params.call.labels[box_row];
  if (label < 0 || label >= params.predictions.scores.num_channels) {
    return std::numeric_limits<float>::quiet_NaN();
  }
  return read_score(params.predictions, at, label);
}

// The alignment of a pair whose score has been read.
inline float alignment(const TaskAlignedParams& params, float score, float overlap) {
  return alignment_of(params.rule, probability_of(score, params.predictions.scores_are_logits), overlap);
}

// An overlap whose power does not exceed an alignment, close to the largest of them: what is not above it can
// be left out.
inline float overlap_below(float alignment, int beta) {
  if (beta == 0 || !(alignment > 0.0f)) return -1.0f;
  const float root = std::pow(alignment, 1.0f / static_cast<float>(beta)) * 0.999999f;
  return whole_power(root, beta) <= alignment ? root : -1.0f;
}

// One thread's worker: lays the claims of boxes.
template <class T>
class TaskAlignedChooser {
 public:
  explicit TaskAlignedChooser(const TaskAlignedParams& params) : params_(params), best_(params.rule.k) {}

  void choose(const BoxTask& task) {
    for (int64_t box_row = task.first_row; box_row < task.last_row; ++box_row) {
      const Box box = load_box(params_.call.boxes, box_row);
      if (!is_valid(box)) continue;
      best_.clear();
      for (int level = 0; level < params_.call.num_levels; ++level) {
        visit_level(task.image, level, box, box_row);
      }
      for (const BestPoints::Entry& entry : best_.entries()) {
        if (!holds(params_.rule, box, entry.x, entry.y)) continue;
        const int64_t output = task.image * params_.call.num_points + entry.point;
        lay_claim(params_.call, output, claim_of(entry.overlap, box_row));
      }
    }
  }

 private:
  void visit_level(int64_t image, int level, const Box& box, int64_t box_row) {
    const Grid grid = whole_level(params_.call, level);
    const ValidCells valid = valid_cells(params_.call, image, level);
    Cells rows{0, valid.rows}, columns{0, valid.columns};
    if (!params_.rule.all_candidates &&
        !cells_inside(grid, valid, grown(box, params_.rule.min_side), kInfinity, rows, columns)) {
      return;
    }
    make_room(grid.level.width);
    for (int row = rows.begin; row < rows.end; ++row) {
      const HeadPoint first{image, grid.level.first_point + grid.row_start(row) + columns.begin, level};
      visit_run(grid, row, columns, first, box, box_row);
    }
  }

  void make_room(size_t width) {
    if (width <= overlaps_.size()) return;
    overlaps_.resize(width);
    scores_.resize(width);
    columns_.resize(width);
  }

  // CIoU is at most IoU, which decides here who is looked at.
  void visit_run(const Grid& grid, int row, const Cells& columns, const HeadPoint& first, const Box& box,
                 int64_t box_row) {
    const HeadLevel& level = head_level(params_.predictions.boxes, first.level);
    const float y = grid.y_axis.coordinate(row), least = overlap_below(best_.bound(), params_.rule.beta);
    const PointRun<T> run{
        static_cast<const T*>(level.values) + position_in_head(level, 4, first.image, first.point, 0),
        level.num_points,
        columns.begin,
        columns.end - columns.begin,
        params_.call.offset,
        grid.level.stride,
        y};
    // Each level has a layout of its own.
    const auto overlaps_of_run =
        overlaps_of_run_for<T>(level.channels_last, params_.predictions.boxes_are_ltrb);
    if (!overlaps_of_run(run, box, least, overlaps_.data())) return;
    const int count = collect_candidates(run.count, least);
    // All scores are read before one is looked at: they lie far apart, and memory answers many at once.
    for (int i = 0; i < count; ++i) scores_[i] = class_score(params_, at_column(first, columns_[i]), box_row);
    for (int i = 0; i < count; ++i) {
      const float x = grid.x_axis.coordinate(columns.begin + columns_[i]);
      visit(at_column(first, columns_[i]), x, y, box, overlaps_[columns_[i]], scores_[i]);
    }
  }

  static HeadPoint at_column(const HeadPoint& first, int column) {
    return {first.image, first.point + column, first.level};
  }

  // Leaves those of a run in columns_ whose overlap exceeds `least`, and returns how many they are.
  int collect_candidates(int count, float least) {
    int candidates = 0;
    for (int i = 0; i < count; ++i) {
      columns_[candidates] = i;
      candidates += overlaps_[i] > least;
    }
    return candidates;
  }

  void visit(const HeadPoint& at, float x, float y, const Box& box, float iou, float score) {
    float overlap = iou;
    if (!can_enter(overlap)) return;
    if (params_.rule.ciou) {
      overlap = prediction_overlap(params_.rule, predicted_box<T>(params_.predictions, at, x, y), box);
      if (!can_enter(overlap)) return;
    }
    if (!params_.rule.all_candidates && !holds(params_.rule, box, x, y)) return;
    best_.offer({alignment(params_, score, overlap), overlap, x, y, at.point});
  }

  bool can_enter(float overlap) const { return whole_power(overlap, params_.rule.beta) > best_.bound(); }

  const TaskAlignedParams& params_;
  BestPoints best_;
  std::vector<float> overlaps_, scores_;  // of a run
  std::vector<int> columns_;
};

}  // namespace pseudo_iou_ops
