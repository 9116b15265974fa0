// ATSS on a CPU, box by box. Of a level the k closest points are found from the ranks of their rows and
// columns, without a look at the others.
#pragma once

#include "../core/atss.h"
#include "contest_cpu.h"
#include "top_k_cpu.h"

namespace pseudo_iou_ops {

class AtssWorker {
 public:
  AtssWorker(const TopKParams& params, const AtssRule& rule) : params_(params), rule_(rule) {}

  // Lays the claims of the boxes of a task.
  void choose(const BoxTask& task) {
    for (int64_t box_row = task.first_row; box_row < task.last_row; ++box_row) {
      const Box box = load_box(params_.boxes, box_row);
      if (!is_valid(box)) continue;
      candidates_.clear();
      values_.clear();
      for (int level = 0; level < params_.num_levels; ++level) find_candidates(task.image, level, box);
      if (!candidates_.empty()) claim_outstanding(task.image, box, box_row);
    }
  }

 private:
  struct Candidate {
    int level, row, column;
  };

  void find_candidates(int64_t image, int index, const Box& box) {
    const CellLine columns = valid_line(params_, image, index, false);
    const CellLine rows = valid_line(params_, image, index, true);
    const int num_columns = std::min(rule_.k, columns.count), num_rows = std::min(rule_.k, rows.count);
    rank_cells(columns, center_x(box), num_columns, column_of_rank_);
    rank_cells(rows, center_y(box), num_rows, row_of_rank_);
    keys_.clear();
    for (int row = 0; row < num_rows; ++row) {
      const float dy = rows.coordinate(row_of_rank_[row]) - center_y(box);
      const int reach = columns_in_reach(rule_.k, row, num_columns);
      for (int column = 0; column < reach; ++column) {
        const float dx = columns.coordinate(column_of_rank_[column]) - center_x(box);
        keys_.push_back(atss_key(dx, dy, row, column));
      }
    }
    const size_t kept = std::min<size_t>(rule_.k, keys_.size());
    std::partial_sort(keys_.begin(), keys_.begin() + kept, keys_.end());
    const Level& level = params_.levels[index];
    for (size_t i = 0; i < kept; ++i) {
      const int ranks = static_cast<int>(keys_[i] & 0xffffffffu);
      const int row = row_of_rank_[ranks / kMaxK], column = column_of_rank_[ranks % kMaxK];
      candidates_.push_back({index, row, column});
      values_.push_back(
          atss_value(rule_, level.stride, box, columns.coordinate(column), rows.coordinate(row)));
    }
  }

  void claim_outstanding(int64_t image, const Box& box, int64_t box_row) const {
    const float threshold = atss_threshold(values_.data(), static_cast<int>(values_.size()));
    for (size_t i = 0; i < candidates_.size(); ++i) {
      const Candidate& candidate = candidates_[i];
      const Level& level = params_.levels[candidate.level];
      const Distances d = distances(box, point_coordinate(candidate.column, params_.offset, level.stride),
                                    point_coordinate(candidate.row, params_.offset, level.stride));
      if (!passes_quality(threshold, rule_.inclusive, values_[i]) ||
          !is_deeper_inside(d, rule_.inside_margin))
        continue;
      const int64_t output = image * params_.num_points + level.first_point +
                             static_cast<int64_t>(candidate.row) * level.width + candidate.column;
      lay_claim(params_, output, claim_of(values_[i], box_row));
    }
  }

  const TopKParams& params_;
  const AtssRule& rule_;
  int column_of_rank_[kMaxK], row_of_rank_[kMaxK];
  std::vector<uint64_t> keys_;
  std::vector<Candidate> candidates_;
  std::vector<float> values_;
};

// All boxes of the image compete for a point that several chose.
struct AtssCompetition {
  const AtssRule& rule;
  float stride;

  // Pseudo-IoU has nothing to do with the anchor, and is at most 1.
  Reach reach(const Box&) const { return everywhere(rule.metric == AtssMetric::kPseudoIou ? 1.0f : 0.0f); }

  // A value above 0 needs an anchor that the box overlaps, and with Pseudo-IoU a point inside.
  template <class Bounds>
  bool can_reach(const Bounds& bounds, const Box& box) const {
    if (!(bounds.weakest_claim > 0.0f)) return true;
    return touches(box, rule.metric == AtssMetric::kAnchorIou ? bounds.rivals : bounds.points, 0.0f);
  }

  float value(const Box&, const Box& box, float x, float y) const {
    return atss_value(rule, stride, box, x, y);
  }
};

// Decides about the contested points of a task, and leaves the strongest claims in `matched`.
inline void hold_atss_contests(const TopKParams& params, const AtssRule& rule, const PointTask& task) {
  const float stride = params.levels[task.level].stride, half = rule.anchor_scale * stride / 2.0f;
  Contest contest(params, AtssCompetition{rule, stride});
  for_each_claimed(params, task, [&](const ClaimedPoint& point) {
    if (!point.is_contested) return;
    const Box anchor{point.x - half, point.y - half, point.x + half, point.y + half};
    contest.add(task.image, point.output, anchor, point.x, point.y);
  });
  contest.settle();
}

}  // namespace pseudo_iou_ops
