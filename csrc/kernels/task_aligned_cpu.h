// Task-aligned assignment on a CPU. A box visits the points inside it, and asks for a score only where the
// overlap alone could earn a place among its best: a score is at most 1, and rounding keeps that order.
#pragma once

#include "task_aligned.h"
#include "top_k_cpu.h"

namespace pseudo_iou_ops {

// The best points of one box, at most k.
class BestPoints {
 public:
  struct Entry {
    float alignment, overlap, x, y;
    int64_t point;
  };

  explicit BestPoints(int k) : k_(k) {}
  void clear() { entries_.clear(); }
  const std::vector<Entry>& entries() const { return entries_; }

  // An alignment must exceed it to enter. Points are offered in their order, so that the lower wins a tie.
  float bound() const { return entries_.size() < k_ ? 0.0f : entries_.back().alignment; }

  void offer(const Entry& entry) {
    if (!(entry.alignment > bound())) return;
    if (entries_.size() == k_) entries_.pop_back();
    const auto is_less = [](const Entry& a, const Entry& b) { return a.alignment > b.alignment; };
    entries_.insert(std::upper_bound(entries_.begin(), entries_.end(), entry, is_less), entry);
  }

 private:
  const size_t k_;
  std::vector<Entry> entries_;
};

template <class T>
class TaskAlignedWorker {
 public:
  explicit TaskAlignedWorker(const TaskAlignedParams& params) : params_(params), best_(params.rule.k) {}

  // Lays the claims of the boxes of a task.
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

  // Gives every claimed point of an image to its box, and leaves its claim in `matched` and its score in
  // `score`.
  void resolve(int64_t image) {
    positives_.clear();
    for (int level = 0; level < params_.call.num_levels; ++level) resolve_level(image, level);
    const auto comes_first = [](const Positive& a, const Positive& b) {
      if (a.box_row != b.box_row) return a.box_row < b.box_row;
      return a.alignment != b.alignment ? a.alignment > b.alignment : a.output < b.output;
    };
    std::sort(positives_.begin(), positives_.end(), comes_first);
    for (size_t first = 0, last; first < positives_.size(); first = last) {
      last = first;
      while (last < positives_.size() && positives_[last].box_row == positives_[first].box_row) ++last;
      score_box(first, last);
    }
  }

 private:
  struct Positive {
    int64_t box_row, output;
    float alignment, overlap;
  };

  HeadPoint head_point(int64_t image, int level, const Grid& grid, int row, int column) const {
    return {image, grid.level.first_point + grid.row_start(row) + column, level};
  }

  void visit_level(int64_t image, int level, const Box& box, int64_t box_row) {
    const Grid grid = whole_level(params_.call, level);
    const ValidCells valid = valid_cells(params_.call.valid_sizes, image, grid);
    Cells rows{0, valid.rows}, columns{0, valid.columns};
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    if (!params_.rule.all_candidates &&
        !cells_inside(grid, valid, grown(box, params_.rule.min_side), kInfinity, rows, columns)) {
      return;
    }
    for (int row = rows.begin; row < rows.end; ++row) {
      const float y = grid.y_axis.coordinate(row);
      for (int column = columns.begin; column < columns.end; ++column) {
        visit(head_point(image, level, grid, row, column), grid.x_axis.coordinate(column), y, box, box_row);
      }
    }
  }

  void visit(const HeadPoint& at, float x, float y, const Box& box, int64_t box_row) {
    const float overlap =
        prediction_overlap(params_.rule, predicted_box<T>(params_.predictions, at, x, y), box);
    if (!(whole_power(overlap, params_.rule.beta) > best_.bound())) return;
    if (!params_.rule.all_candidates && !holds(params_.rule, box, x, y)) return;
    best_.offer({alignment(params_, at, box_row, overlap), overlap, x, y, at.point});
  }

  void resolve_level(int64_t image, int level) {
    const Grid grid = whole_level(params_.call, level);
    for (int row = 0; row < grid.level.height; ++row) {
      for (int column = 0; column < grid.level.width; ++column) {
        const HeadPoint at = head_point(image, level, grid, row, column);
        const int64_t output = image * params_.call.num_points + at.point;
        int64_t& claim = params_.call.matched[output];
        if (claim < 0) continue;
        if (params_.rule.among != Among::kChoosers && params_.call.matched_labels[output] > kBackground + 1) {
          claim = strongest_claim(at, grid.x_axis.coordinate(column), grid.y_axis.coordinate(row));
        }
        const int64_t box_row = row_of_claim(claim);
        const float overlap = value_of_claim(claim);
        positives_.push_back({box_row, output, alignment(params_, at, box_row, overlap), overlap});
      }
    }
  }

  // Of the boxes that compete for a point that several chose.
  int64_t strongest_claim(const HeadPoint& at, float x, float y) const {
    const Rows rows = image_rows(params_.call.offsets, at.image, params_.call.num_boxes);
    const Box prediction = predicted_box<T>(params_.predictions, at, x, y);
    int64_t strongest = kBackground;
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      const Box box = load_box(params_.call.boxes, row);
      if (!is_valid(box)) continue;
      if (params_.rule.among == Among::kHolders && !holds(params_.rule, box, x, y)) continue;
      strongest = std::max(strongest, claim_of(prediction_overlap(params_.rule, prediction, box), row));
    }
    return strongest;
  }

  // The positives of one box, the best first: what it keeps is scored, the rest becomes background.
  void score_box(size_t first, size_t last) const {
    const int64_t keep = params_.rule.keep;
    const size_t kept = keep > 0 ? std::min(last, first + static_cast<size_t>(keep)) : last;
    float best_overlap = 0.0f;
    for (size_t i = first; i < kept; ++i) best_overlap = maximum(best_overlap, positives_[i].overlap);
    const float divisor = positives_[first].alignment + params_.rule.eps;
    for (size_t i = first; i < kept; ++i) {
      params_.call.score[positives_[i].output] = (positives_[i].alignment / divisor) * best_overlap;
    }
    for (size_t i = kept; i < last; ++i) {
      params_.call.matched[positives_[i].output] = kBackground;
      params_.call.matched_labels[positives_[i].output] = kBackground;
    }
  }

  const TaskAlignedParams& params_;
  BestPoints best_;
  std::vector<Positive> positives_;
};

}  // namespace pseudo_iou_ops
