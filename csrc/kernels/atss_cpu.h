// ATSS on a CPU, box by box. Of a level the k closest points are found from the ranks of their rows and
// columns: a point has at least as many closer ones as its two ranks multiply to.
#pragma once

#include "../core/atss.h"
#include "top_k_cpu.h"

namespace pseudo_iou_ops {

class AtssWorker {
 public:
  AtssWorker(const TopKParams& params, const AtssRule& rule) : params_(params), rule_(rule) {}

  // Appends the points that the boxes of a task choose.
  void choose(const BoxTask& task, std::vector<Pick>& picks) {
    for (int64_t box_row = task.rows.begin; box_row < task.rows.end; ++box_row) {
      const Box box = load_box(params_.boxes, box_row);
      if (!is_valid(box)) continue;
      candidates_.clear();
      values_.clear();
      for (int level = 0; level < params_.num_levels; ++level)
        find_candidates(task.image, level, box, box_row);
      if (!candidates_.empty()) keep_outstanding(box, picks);
    }
  }

  // The box that gets a point which several chose, if all boxes of the image compete for it.
  void give_to_best(int64_t image, Pick& pick) const {
    const Level& level = params_.levels[pick.level];
    const float x = point_coordinate(pick.column, params_.offset, level.stride);
    const float y = point_coordinate(pick.row, params_.offset, level.stride);
    const Rows rows = image_rows(params_.offsets, image, params_.num_boxes);
    int64_t best = kBackground;
    for (int64_t box_row = rows.begin; box_row < rows.end; ++box_row) {
      const Box box = load_box(params_.boxes, box_row);
      if (!is_valid(box)) continue;
      const float value = atss_value(rule_, level.stride, box, x, y);
      const int64_t claim = claim_of(value, box_row);
      if (claim <= best) continue;
      best = claim;
      pick.box_row = box_row;
      pick.value = value;
    }
  }

 private:
  void find_candidates(int64_t image, int index, const Box& box, int64_t box_row) {
    const AtssLevel level = atss_level(params_, image, index);
    const int columns = std::min(rule_.k, level.columns.count), rows = std::min(rule_.k, level.rows.count);
    const float center_x = (box.x1 + box.x2) / 2.0f, center_y = (box.y1 + box.y2) / 2.0f;
    rank_cells(level.columns, center_x, columns, column_of_rank_, dx_);
    rank_cells(level.rows, center_y, rows, row_of_rank_, dy_);
    keys_.clear();
    for (int row = 0; row < rows; ++row) {
      const int reach = std::min(columns, rule_.k / (row + 1));
      for (int column = 0; column < reach; ++column)
        keys_.push_back(atss_key(dx_[column], dy_[row], row, column));
    }
    const size_t kept = std::min<size_t>(rule_.k, keys_.size());
    std::partial_sort(keys_.begin(), keys_.begin() + kept, keys_.end());
    const Level& own = params_.levels[index];
    for (size_t i = 0; i < kept; ++i) {
      const int ranks = static_cast<int>(keys_[i] & 0xffffffffu);
      const int row = row_of_rank_[ranks / kMaxK], column = column_of_rank_[ranks % kMaxK];
      const int64_t point = own.first_point + static_cast<int64_t>(row) * own.width + column;
      const float value =
          atss_value(rule_, own.stride, box, level.columns.coordinate(column), level.rows.coordinate(row));
      candidates_.push_back({index, row, column, point, box_row, value});
      values_.push_back(value);
    }
  }

  static void rank_cells(const CellLine& line, float center, int count, int* cell_of_rank, float* distance) {
    NearestCells nearest(line, center);
    for (int rank = 0; rank < count; ++rank) {
      cell_of_rank[rank] = nearest.next();
      distance[rank] = line.coordinate(cell_of_rank[rank]) - center;
    }
  }

  void keep_outstanding(const Box& box, std::vector<Pick>& picks) const {
    const float threshold = atss_threshold(values_.data(), static_cast<int>(values_.size()));
    for (const Pick& pick : candidates_) {
      const Level& level = params_.levels[pick.level];
      const Distances d = distances(box, point_coordinate(pick.column, params_.offset, level.stride),
                                    point_coordinate(pick.row, params_.offset, level.stride));
      if (passes_quality(threshold, rule_.inclusive, pick.value) &&
          is_deeper_inside(d, rule_.inside_margin)) {
        picks.push_back(pick);
      }
    }
  }

  const TopKParams& params_;
  const AtssRule& rule_;
  int column_of_rank_[kMaxK], row_of_rank_[kMaxK];
  float dx_[kMaxK], dy_[kMaxK];
  std::vector<uint64_t> keys_;
  std::vector<Pick> candidates_;
  std::vector<float> values_;
};

}  // namespace pseudo_iou_ops
