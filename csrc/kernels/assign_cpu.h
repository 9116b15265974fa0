// The assignment on a CPU. A task is a few rows of one level of one image; a box visits only the cells
// it holds, so the work follows the boxes' areas, and the scratch memory is that of one task's points.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "../core/candidates.h"

namespace pseudo_iou_ops {

// Fewer rows rescan the boxes more often; more leave threads without work.
constexpr int kPointsPerTask = 16384;

struct AssignTask {
  int64_t image;
  int level;
  int first_row, last_row;
};

inline int rows_per_task(const Level& level) {
  return std::max(1, kPointsPerTask / std::max(1, level.width));
}

inline int64_t tasks_of(const Level& level) {
  if (level.width == 0) return 0;
  const int rows = rows_per_task(level);
  return (static_cast<int64_t>(level.height) + rows - 1) / rows;
}

inline int64_t num_tasks(const AssignParams& params) {
  int64_t per_image = 0;
  for (int level = 0; level < params.num_levels; ++level) per_image += tasks_of(params.levels[level]);
  return per_image * params.num_images;
}

inline AssignTask task_at(const AssignParams& params, int64_t index) {
  const int64_t per_image = num_tasks(params) / params.num_images;
  int64_t rest = index % per_image;
  int level = 0;
  for (; rest >= tasks_of(params.levels[level]); ++level) rest -= tasks_of(params.levels[level]);
  const int rows = rows_per_task(params.levels[level]);
  const int first_row = static_cast<int>(rest * rows);
  return {index / per_image, level, first_row, std::min(first_row + rows, params.levels[level].height)};
}

// Half-open.
struct Cells {
  int begin, end;
};

// The points of a level along one axis. Their coordinates never fall, so every comparison with a coordinate
// splits the cells in two; the division only guesses where, and the coordinates themselves decide.
class Axis {
 public:
  Axis() = default;
  Axis(int count, float offset, float stride)
      : count_(count), offset_(offset), stride_(stride), cells_per_pixel_(1.0 / stride) {}

  float coordinate(int cell) const { return point_coordinate(cell, offset_, stride_); }

  // The cells whose points lie strictly between low and high, and no farther than `reach` from either.
  Cells between(float low, float high, float reach) const {
    int begin = split(low, [=](float x) { return !(x > low); });
    int end = first_not_below(high);
    if (high - low > reach) {
      begin = std::max(begin, split(high - reach, [=](float x) { return !(high - x <= reach); }));
      end = std::min(end, split(low + reach, [=](float x) { return x - low <= reach; }));
    }
    return {begin, std::max(begin, end)};
  }

  // The cells whose points lie less than `distance` from both low and high.
  Cells near_both(float low, float high, float distance) const {
    const int begin = split(high - distance, [=](float x) { return !(high - x < distance); });
    const int end = split(low + distance, [=](float x) { return x - low < distance; });
    return {begin, std::max(begin, end)};
  }

  // The first cell whose point is not below a coordinate.
  int first_not_below(float limit) const {
    return split(limit, [=](float x) { return x < limit; });
  }

 private:
  // The first cell whose point is_before does not hold for; it holds for all before.
  template <class IsBefore>
  int split(float coordinate_there, const IsBefore& is_before) const {
    int cell = guess(coordinate_there);
    while (cell > 0 && !is_before(coordinate(cell - 1))) --cell;
    while (cell < count_ && is_before(coordinate(cell))) ++cell;
    return cell;
  }

  // The first cell at or past a coordinate, but for rounding.
  int guess(float coordinate) const {
    const double cell = coordinate * cells_per_pixel_ - offset_;
    const double within = std::min(std::max(cell, 0.0), static_cast<double>(count_));
    const int whole = static_cast<int>(within);
    return whole + (whole < within);
  }

  int count_ = 0;
  float offset_ = 0.0f, stride_ = 1.0f;
  double cells_per_pixel_ = 1.0;
};

// The cells of a task, which are whole rows of a level.
struct Grid {
  Level level;
  Axis x_axis, y_axis;
  int first_row, last_row;

  // The first point of a row of cells, among the task's.
  int64_t row_start(int row) const { return static_cast<int64_t>(row - first_row) * level.width; }
  int64_t num_points() const { return row_start(last_row); }
};

// A box, and the cells of the task whose points it holds no farther than the range's high end from any side.
// Those of them that are nearer than the low end to every side form a hole.
struct Visit {
  Box box;
  int row;  // of the box, within the image
  Cells rows, columns;
  Cells hole_rows, hole_columns;
};

// The best box of each point of a task where the area alone decides: boxes are painted from the largest to
// the smallest, and what is seen at the end is the choice.
class PaintedBoard {
 public:
  void resize(size_t points) {
    if (points > rows_.size()) rows_.resize(points);
  }

  void clear(int64_t first_point, int64_t points) { std::fill_n(rows_.begin() + first_point, points, -1); }

  void visit(const Rule&, const Grid& grid, const std::vector<Visit>& visits) {
    sort(visits);
    for (uint64_t key : order_) {
      const Visit& visit = visits[~static_cast<uint32_t>(key)];
      for (int row = visit.rows.begin; row < visit.rows.end; ++row) {
        int* PIOU_RESTRICT cells = rows_.data() + grid.row_start(row);
        if (row >= visit.hole_rows.begin && row < visit.hole_rows.end) {
          paint(cells, {visit.columns.begin, visit.hole_columns.begin}, visit.row);
          paint(cells, {visit.hole_columns.end, visit.columns.end}, visit.row);
        } else {
          paint(cells, visit.columns, visit.row);
        }
      }
    }
  }

  // Of the chosen box within the image, or negative.
  int row(int64_t point) const { return rows_[point]; }
  bool is_in_ignore_band(int64_t) const { return false; }

 private:
  // The largest area first; of equal ones the lowest row last. Areas are positive, so their bits are ordered
  // as they are.
  void sort(const std::vector<Visit>& visits) {
    order_.clear();
    for (uint32_t index = 0; index < visits.size(); ++index) {
      const float box_area = area(visits[index].box);
      uint32_t bits;
      std::memcpy(&bits, &box_area, sizeof(bits));
      order_.push_back(static_cast<uint64_t>(~bits) << 32 | ~index);
    }
    std::sort(order_.begin(), order_.end());
  }

  static void paint(int* PIOU_RESTRICT cells, Cells columns, int row) {
    for (int column = columns.begin; column < columns.end; ++column) cells[column] = row;
  }

  std::vector<int> rows_;
  std::vector<uint64_t> order_;
};

// The best box of each point of a task where every candidate has to be judged.
class JudgeBoard {
 public:
  void resize(size_t points) {
    if (points > choices_.size()) choices_.resize(points);
  }

  void clear(int64_t first_point, int64_t points) {
    std::fill_n(choices_.begin() + first_point, points, Choice());
  }

  void visit(const Rule& rule, const Grid& grid, const std::vector<Visit>& visits) {
    for (const Visit& visit : visits) {
      for (int row = visit.rows.begin; row < visit.rows.end; ++row) {
        const float y = grid.y_axis.coordinate(row);
        for (int column = visit.columns.begin; column < visit.columns.end; ++column) {
          const float x = grid.x_axis.coordinate(column);
          const Distances d = distances(visit.box, x, y);
          if (!in_range(grid.level, longest(d))) continue;
          offer(choices_[grid.row_start(row) + column], rule, grid.level.stride, visit.box, visit.row, x, y,
                d);
        }
      }
    }
  }

  int row(int64_t point) const { return choices_[point].row; }
  bool is_in_ignore_band(int64_t point) const { return choices_[point].in_ignore_band; }

 private:
  std::vector<Choice> choices_;
};

inline void add_count(int64_t* counter, int64_t count) {
  static_assert(sizeof(std::atomic<int64_t>) == sizeof(int64_t), "counters are plain integers");
  reinterpret_cast<std::atomic<int64_t>*>(counter)->fetch_add(count, std::memory_order_relaxed);
}

// Counts the positives of a task. Neighbours share a box: one atomic addition a run of them, not a point.
class PositiveCounter {
 public:
  PositiveCounter(const AssignParams& params, int64_t image) : params_(params), image_(image) {}
  PositiveCounter(const PositiveCounter&) = delete;
  PositiveCounter& operator=(const PositiveCounter&) = delete;
  ~PositiveCounter() {
    end_run();
    if (positives_ > 0) add_count(params_.num_pos + image_, positives_);
  }

  // Of the box with this row.
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

  const AssignParams& params_;
  int64_t image_;
  int64_t row_ = -1, run_ = 0, positives_ = 0;
};

// One thread's worker: runs tasks one after another, reusing its scratch memory.
template <class Board>
class AssignWorker {
 public:
  explicit AssignWorker(const AssignParams& params) : params_(params) {}

  void run(const AssignTask& task) {
    start(task);
    fill_background();
    find_visits();
    if (!visits_.empty()) {
      visit_boxes();
      write_points();
    }
    if (params_.ignore_boxes != nullptr) ignore_regions();
    if (params_.valid_sizes != nullptr) ignore_padding();
  }

 private:
  void start(const AssignTask& task) {
    const Level& level = params_.levels[task.level];
    image_ = task.image;
    grid_ = {level, Axis(level.width, params_.offset, level.stride),
             Axis(level.height, params_.offset, level.stride), task.first_row, task.last_row};
    first_output_ = task.image * params_.num_points + level.first_point +
                    static_cast<int64_t>(task.first_row) * level.width;
    valid_columns_ = level.width;
    valid_rows_ = level.height;
    if (params_.valid_sizes != nullptr) {
      valid_rows_ = cells_before(grid_.y_axis, level.height, params_.valid_sizes[2 * task.image]);
      valid_columns_ = cells_before(grid_.x_axis, level.width, params_.valid_sizes[2 * task.image + 1]);
    }
  }

  // A size that is not a number has no padding: a comparison with it is never true.
  static int cells_before(const Axis& axis, int count, float size) {
    return size == size ? axis.first_not_below(size) : count;
  }

  void fill_background() const {
    const int64_t points = grid_.num_points();
    std::fill_n(params_.matched + first_output_, points, kBackground);
    std::fill_n(params_.matched_labels + first_output_, points, kBackground);
    std::fill_n(params_.ltrb + 4 * first_output_, 4 * points, 0.0f);
    std::fill_n(params_.pseudo_iou + first_output_, points, 0.0f);
    std::fill_n(params_.centerness + first_output_, points, 0.0f);
  }

  // The cells of the task, short of the padding, whose points a box holds at most `reach` from each of its
  // sides; false if there are none.
  bool cells_inside(const Box& box, float reach, Cells& rows, Cells& columns) const {
    rows = grid_.y_axis.between(box.y1, box.y2, reach);
    rows = {std::max(rows.begin, grid_.first_row), std::min({rows.end, grid_.last_row, valid_rows_})};
    if (rows.begin >= rows.end) return false;
    columns = grid_.x_axis.between(box.x1, box.x2, reach);
    columns.end = std::min(columns.end, valid_columns_);
    return columns.begin < columns.end;
  }

  // Half of a side is the least that the larger of the distances to its ends can be, and rounding keeps that.
  void find_hole(Visit& visit) const {
    const Box& box = visit.box;
    if (width(box) / 2.0f >= grid_.level.low || height(box) / 2.0f >= grid_.level.low) return;
    visit.hole_rows = grid_.y_axis.near_both(box.y1, box.y2, grid_.level.low);
    const Cells columns = grid_.x_axis.near_both(box.x1, box.x2, grid_.level.low);
    const auto within = [&](int column) {
      return std::min(std::max(column, visit.columns.begin), visit.columns.end);
    };
    visit.hole_columns = {within(columns.begin), within(columns.end)};
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
      if (!cells_inside(visit.box, grid_.level.high, visit.rows, visit.columns)) continue;
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
    std::vector<float> l, t, r, b, pseudo_iou, centerness;

    void resize(size_t width) {
      for (std::vector<int>* numbers : {&columns, &rows, &positives}) numbers->resize(width);
      for (std::vector<float>* numbers : {&l, &t, &r, &b, &pseudo_iou, &centerness}) numbers->resize(width);
    }
    Distances distances(int index) const { return {l[index], t[index], r[index], b[index]}; }
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
    int count = 0;
    for (int column = touched.begin; column < touched.end; ++column) {
      chosen_.columns[count] = column;
      count += board_.row(start + column) >= 0;
    }
    const float y = grid_.y_axis.coordinate(row);
    for (int index = 0; index < count; ++index) {
      const int column = chosen_.columns[index], box_row = board_.row(start + column);
      const Distances d = distances(load_box(params_.boxes, boxes_.begin + box_row), xs_[column], y);
      chosen_.rows[index] = box_row;
      chosen_.l[index] = d.l;
      chosen_.t[index] = d.t;
      chosen_.r[index] = d.r;
      chosen_.b[index] = d.b;
    }
    return count;
  }

  void measure_chosen(int count) {
    const float* PIOU_RESTRICT l = chosen_.l.data();
    const float* PIOU_RESTRICT t = chosen_.t.data();
    const float* PIOU_RESTRICT r = chosen_.r.data();
    const float* PIOU_RESTRICT b = chosen_.b.data();
    float* PIOU_RESTRICT ious = chosen_.pseudo_iou.data();
    float* PIOU_RESTRICT centernesses = chosen_.centerness.data();
    for (int index = 0; index < count; ++index) {
      const Distances d{l[index], t[index], r[index], b[index]};
      ious[index] = pseudo_iou(d);
      centernesses[index] = centerness(d);
    }
  }

  // Leaves the positive ones' indices in chosen_.positives and returns their number.
  int filter_chosen(int row, int count) {
    int* PIOU_RESTRICT positives = chosen_.positives.data();
    int num_positives = 0;
    if (is_judged_by_quality()) {  // alone: neither the box nor the point need be loaded
      const float* PIOU_RESTRICT qualities = chosen_qualities();
      for (int index = 0; index < count; ++index) {
        positives[num_positives] = index;
        num_positives += is_positive(params_.rule, grid_.level.stride, {}, 0.0f, 0.0f, {}, qualities[index]);
      }
      return num_positives;
    }
    const float y = grid_.y_axis.coordinate(row);
    for (int index = 0; index < count; ++index) {
      positives[num_positives] = index;
      num_positives += is_positive(params_.rule, grid_.level.stride, chosen_box(index),
                                   xs_[chosen_.columns[index]], y, chosen_.distances(index), 0.0f);
    }
    return num_positives;
  }

  bool is_judged_by_quality() const {
    return params_.rule.metric == Metric::kPseudoIou || params_.rule.metric == Metric::kCenterness;
  }

  // Ignores the points in the band; those among them that are positive are written over later.
  void ignore_band(int row, Cells touched, int count) const {
    const int64_t start = grid_.row_start(row);
    const float y = grid_.y_axis.coordinate(row);
    for (int column = touched.begin; column < touched.end; ++column) {
      if (board_.is_in_ignore_band(start + column)) write_ignored(first_output_ + start + column);
    }
    for (int index = 0; index < count; ++index) {
      const int column = chosen_.columns[index];
      if (is_in_ignore_band(params_.rule, grid_.level.stride, chosen_box(index), xs_[column], y,
                            chosen_.distances(index), chosen_qualities()[index])) {
        write_ignored(first_output_ + start + column);
      }
    }
  }

  Box chosen_box(int index) const { return load_box(params_.boxes, boxes_.begin + chosen_.rows[index]); }

  // What the metric is, where it is a quality.
  const float* chosen_qualities() const {
    return params_.rule.metric == Metric::kPseudoIou ? chosen_.pseudo_iou.data() : chosen_.centerness.data();
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
    const ChosenPoints& chosen = chosen_;
    const int64_t first_row = boxes_.begin;
    for (int position = 0; position < count; ++position) {
      const int index = chosen.positives[position];
      const int column = chosen.columns[index];
      const int64_t box_row = first_row + chosen.rows[index];
      matched[column] = box_row;
      matched_labels[column] = labels[box_row];
      const Distances d = chosen.distances(index);
      ltrb[4 * column] = d.l / divisor;
      ltrb[4 * column + 1] = d.t / divisor;
      ltrb[4 * column + 2] = d.r / divisor;
      ltrb[4 * column + 3] = d.b / divisor;
      pseudo_ious[column] = chosen.pseudo_iou[index];
      centernesses[column] = chosen.centerness[index];
      counter.add(box_row);
    }
  }

  void write_ignored(int64_t output) const {
    params_.matched[output] = kIgnored;
    params_.matched_labels[output] = kIgnored;
  }

  void ignore_regions() const {
    const Rows regions = image_rows(params_.ignore_offsets, image_, params_.num_ignore_boxes);
    for (int64_t region_row = regions.begin; region_row < regions.end; ++region_row) {
      const Box region = load_box(params_.ignore_boxes, region_row);
      Cells rows, columns;
      if (!is_valid(region) || !cells_inside(region, std::numeric_limits<float>::infinity(), rows, columns))
        continue;
      for (int row = rows.begin; row < rows.end; ++row) {
        for (int column = columns.begin; column < columns.end; ++column) {
          const int64_t output = first_output_ + grid_.row_start(row) + column;
          if (params_.matched[output] == kBackground) write_ignored(output);
        }
      }
    }
  }

  void ignore_padding() const {
    for (int row = grid_.first_row; row < grid_.last_row; ++row) {
      for (int column = row < valid_rows_ ? valid_columns_ : 0; column < grid_.level.width; ++column) {
        write_ignored(first_output_ + grid_.row_start(row) + column);
      }
    }
  }

  const AssignParams& params_;
  int64_t image_ = 0;
  Grid grid_{};
  Rows boxes_{};
  int valid_rows_ = 0, valid_columns_ = 0;
  int64_t first_output_ = 0;
  std::vector<Visit> visits_;
  std::vector<Cells> touched_;
  std::vector<float> xs_;
  ChosenPoints chosen_;
  Board board_;
};

// Takes tasks from a queue shared by all threads until it is empty.
template <class Board>
void run_tasks(const AssignParams& params, std::atomic<int64_t>& next_task, int64_t count) {
  AssignWorker<Board> worker(params);
  for (int64_t task = next_task++; task < count; task = next_task++) worker.run(task_at(params, task));
}

}  // namespace pseudo_iou_ops
