// The assignment on a CPU. A task is a few rows of one level of one image; a box visits only the cells
// it holds, so the work follows the boxes' areas, and the scratch memory is that of one task's points.
#pragma once

#include <algorithm>
#include <type_traits>
#include <vector>

#include "assign_boards.h"
#include "ignore_cpu.h"
#include "point_tasks.h"

namespace pseudo_iou_ops {

// One thread's worker: runs tasks one after another, reusing its scratch memory.
template <class Board>
class AssignWorker {
 public:
  explicit AssignWorker(const AssignParams& params) : params_(params) {}

  void run(const PointTask& task) {
    start(task);
    fill_background();
    find_visits();
    if (!visits_.empty()) {
      visit_boxes();
      write_points();
    }
    IgnoredPoints(params_, image_, grid_, valid_, first_output_).write();
  }

 private:
  void start(const PointTask& task) {
    image_ = task.image;
    grid_ = grid_of(params_, task);
    first_output_ = first_output_of(params_, task);
    valid_ = valid_cells(params_, image_, task.level);
  }

  void fill_background() const {
    const int64_t points = grid_.num_points();
    std::fill_n(params_.matched + first_output_, points, kBackground);
    std::fill_n(params_.matched_labels + first_output_, points, kBackground);
    std::fill_n(params_.ltrb + 4 * first_output_, 4 * points, 0.0f);
    std::fill_n(params_.pseudo_iou + first_output_, points, 0.0f);
    std::fill_n(params_.centerness + first_output_, points, 0.0f);
  }

  // Half of a side is the least that the larger of the distances to its ends can be, and rounding keeps that.
  void find_hole(Visit& visit) const {
    const Box& box = visit.box;
    if (width(box) / 2.0f >= grid_.level.low || height(box) / 2.0f >= grid_.level.low) return;
    visit.hole_rows = grid_.y_axis.near_both(box.y1, box.y2, grid_.level.low);
    const Cells columns = grid_.x_axis.near_both(box.x1, box.x2, grid_.level.low);
    visit.hole_columns = {std::clamp(columns.begin, visit.columns.begin, visit.columns.end),
                          std::clamp(columns.end, visit.columns.begin, visit.columns.end)};
  }

  // The boxes that hold points of the task, and of each row of cells the part they touch.
  void find_visits() {
    boxes_ = image_rows(params_.offsets, image_, params_.num_boxes);
    const float first_y = grid_.y_axis.coordinate(grid_.first_row),
                last_y = grid_.y_axis.coordinate(grid_.last_row - 1);
    visits_.clear();
    touched_.assign(grid_.last_row - grid_.first_row, {grid_.level.width, 0});
    for (int64_t row = boxes_.begin; row < boxes_.end; ++row) {
      Visit visit{load_box(params_.boxes, row), static_cast<int>(row - boxes_.begin), {}, {}, {}, {}};
      if (!(visit.box.y2 > first_y && visit.box.y1 < last_y)) continue;
      if (!is_valid(visit.box) || !can_be_in_range(grid_.level, visit.box)) continue;
      if (!cells_inside(grid_, valid_, visit.box, grid_.level.high, visit.rows, visit.columns)) continue;
      find_hole(visit);
      visits_.push_back(visit);
      for (int cell_row = visit.rows.begin; cell_row < visit.rows.end; ++cell_row) {
        Cells& touched = touched_[cell_row - grid_.first_row];
        touched = {std::min(touched.begin, visit.columns.begin), std::max(touched.end, visit.columns.end)};
      }
    }
  }

  void visit_boxes() {
    board_.resize(grid_.num_points());
    for (int row = grid_.first_row; row < grid_.last_row; ++row) {
      const Cells touched = touched_[row - grid_.first_row];
      if (touched.begin < touched.end) {
        board_.clear(grid_.row_start(row) + touched.begin, touched.end - touched.begin);
      }
    }
    xs_.resize(grid_.level.width);
    for (int column = 0; column < grid_.level.width; ++column) xs_[column] = grid_.x_axis.coordinate(column);
    board_.visit(params_.rule, grid_, visits_);
  }

  // The points of a row of cells that chose a box, as columns of numbers: taken in stages without a branch a
  // point, and measured side by side, they cost less than decided one by one.
  struct ChosenPoints {
    std::vector<int> columns, rows, positives;
    std::vector<Distances> distances;
    std::vector<float> pseudo_iou, centerness;

    void resize(size_t width) {
      for (std::vector<int>* numbers : {&columns, &rows, &positives}) numbers->resize(width);
      distances.resize(width);
      for (std::vector<float>* numbers : {&pseudo_iou, &centerness}) numbers->resize(width);
    }
  };

  void write_points() {
    chosen_.resize(grid_.level.width);
    PositiveCounter counter(params_, image_);
    for (int row = grid_.first_row; row < grid_.last_row; ++row) {
      const Cells touched = touched_[row - grid_.first_row];
      if (touched.begin >= touched.end) continue;
      const int64_t first_output = first_output_ + grid_.row_start(row);
      const int count = collect_chosen(row, touched);
      measure_chosen(count);
      const int positives = filter_chosen(row, count);
      if (params_.rule.has_ignore_band) ignore_band(row, touched, count);
      write_positives(first_output, positives, counter);
    }
  }

  int collect_chosen(int row, Cells touched) {
    const int64_t start = grid_.row_start(row);
    int* PIOU_RESTRICT columns = chosen_.columns.data();
    int* PIOU_RESTRICT rows = chosen_.rows.data();
    Distances* PIOU_RESTRICT found = chosen_.distances.data();
    int count = 0;
    for (int column = touched.begin; column < touched.end; ++column) {
      columns[count] = column;
      rows[count] = board_.row(start + column);
      count += rows[count] >= 0;
    }
    const float y = grid_.y_axis.coordinate(row);
    for (int index = 0; index < count; ++index) {
      found[index] = distances(load_box(params_.boxes, boxes_.begin + rows[index]), xs_[columns[index]], y);
    }
    return count;
  }

  PIOU_MULTIVERSION void measure_chosen(int count) {
    const Distances* PIOU_RESTRICT distances = chosen_.distances.data();
    float* PIOU_RESTRICT ious = chosen_.pseudo_iou.data();
    float* PIOU_RESTRICT centernesses = chosen_.centerness.data();
    for (int index = 0; index < count; ++index) {
      ious[index] = pseudo_iou(distances[index]);
      centernesses[index] = centerness(distances[index]);
    }
  }

  // Leaves the indices of the positive points in chosen_.positives and returns their number.
  int filter_chosen(int row, int count) {
    const Rule& rule = params_.rule;
    if (reuses_written_quality(rule.metric)) {  // Then neither the box nor the point need be loaded.
      if (rule.order == Order::kFilterThenChoose) return keep_positives(count, [](int) { return true; });
      const float* PIOU_RESTRICT qualities = chosen_qualities();
      const float threshold = rule.threshold;
      const auto keep = [&](auto inclusive) {
        return keep_positives(
            count, [&](int index) { return passes_quality(threshold, inclusive, qualities[index]); });
      };
      return rule.inclusive ? keep(std::true_type()) : keep(std::false_type());
    }
    const float y = grid_.y_axis.coordinate(row);
    return keep_positives(count, [&](int index) { return is_positive(rule, chosen_point(index, y), 0.0f); });
  }

  template <class IsPositive>
  int keep_positives(int count, const IsPositive& is_positive) {
    int* PIOU_RESTRICT positives = chosen_.positives.data();
    int num_positives = 0;
    for (int index = 0; index < count; ++index) {
      positives[num_positives] = index;
      num_positives += is_positive(index);
    }
    return num_positives;
  }

  // Ignores the points in the band; the positive ones among them are written over later.
  void ignore_band(int row, Cells touched, int count) const {
    const int64_t start = grid_.row_start(row);
    const float y = grid_.y_axis.coordinate(row);
    for (int column = touched.begin; column < touched.end; ++column) {
      if (board_.is_in_ignore_band(start + column)) write_ignored(params_, first_output_ + start + column);
    }
    for (int index = 0; index < count; ++index) {
      if (is_in_ignore_band(params_.rule, chosen_point(index, y), chosen_qualities()[index])) {
        write_ignored(params_, first_output_ + start + chosen_.columns[index]);
      }
    }
  }

  PointInBox chosen_point(int index, float y) const {
    return {grid_.level.stride, load_box(params_.boxes, boxes_.begin + chosen_.rows[index]),
            xs_[chosen_.columns[index]], y, chosen_.distances[index]};
  }

  const float* chosen_qualities() const {
    return written_quality(params_.rule.metric, chosen_.pseudo_iou.data(), chosen_.centerness.data());
  }

  void write_positives(int64_t first_output, int count, PositiveCounter& counter) const {
    // The rule is read once: the stores below could change it, for all the compiler knows.
    const float divisor = params_.rule.normalize_by_stride ? grid_.level.stride : 1.0f;
    int64_t* PIOU_RESTRICT matched = params_.matched + first_output;
    int64_t* PIOU_RESTRICT matched_labels = params_.matched_labels + first_output;
    float* PIOU_RESTRICT ltrb = params_.ltrb + 4 * first_output;
    float* PIOU_RESTRICT pseudo_ious = params_.pseudo_iou + first_output;
    float* PIOU_RESTRICT centernesses = params_.centerness + first_output;
    const int64_t* labels = params_.labels;
    const int64_t first_row = boxes_.begin;
    const int *positives = chosen_.positives.data(), *columns = chosen_.columns.data(),
              *rows = chosen_.rows.data();
    const Distances* distances = chosen_.distances.data();
    const float *chosen_ious = chosen_.pseudo_iou.data(), *chosen_centernesses = chosen_.centerness.data();
    for (int position = 0; position < count; ++position) {
      const int index = positives[position];
      const int column = columns[index];
      const int64_t box_row = first_row + rows[index];
      matched[column] = box_row;
      matched_labels[column] = labels[box_row];
      const Distances d = distances[index];
      ltrb[4 * column] = d.l / divisor;
      ltrb[4 * column + 1] = d.t / divisor;
      ltrb[4 * column + 2] = d.r / divisor;
      ltrb[4 * column + 3] = d.b / divisor;
      pseudo_ious[column] = chosen_ious[index];
      centernesses[column] = chosen_centernesses[index];
      counter.add(box_row);
    }
  }

  const AssignParams& params_;
  int64_t image_ = 0;
  Grid grid_{};
  Rows boxes_{};
  ValidCells valid_{};
  int64_t first_output_ = 0;
  std::vector<Visit> visits_;
  std::vector<Cells> touched_;
  std::vector<float> xs_;
  ChosenPoints chosen_;
  Board board_;
};

}  // namespace pseudo_iou_ops
