// ATSS (Zhang et al. 2020): a box's candidates are the points closest to its center, level by level.
#pragma once

#include "box.h"
#include "cell_line.h"
#include "metrics.h"
#include "top_k_params.h"

namespace pseudo_iou_ops {

// In the order of ATSS_METRICS of pseudo_iou_ops/top_k_rules.py; the last is their number.
enum class AtssMetric : int { kAnchorIou, kPseudoIou, kProduct, kCount };

struct AtssRule {
  int k;
  AtssMetric metric;
  float anchor_scale;
  bool inclusive;
  float inside_margin;
  bool all_boxes_compete;
};

// Goes through the cells of a line by their distance from a coordinate; of two as far, the one before it
// first.
class NearestCells {
 public:
  PIOU_HOST_DEVICE NearestCells(const CellLine& line, float center)
      : line_(line), center_(center), after_(line.first_not_below(center)), before_(after_ - 1) {}

  // The next cell; there must be one.
  PIOU_HOST_DEVICE int next() {
    const bool is_before =
        after_ >= line_.count || (before_ >= 0 && magnitude(line_.coordinate(before_) - center_) <=
                                                      magnitude(line_.coordinate(after_) - center_));
    return is_before ? before_-- : after_++;
  }

 private:
  const CellLine line_;
  const float center_;
  int after_, before_;
};

// Finds the cells of ranks 0 to count - 1; there must be so many.
PIOU_HOST_DEVICE void rank_cells(const CellLine& line, float center, int count, int* cell_of_rank) {
  NearestCells nearest(line, center);
  for (int rank = 0; rank < count; ++rank) cell_of_rank[rank] = nearest.next();
}

PIOU_HOST_DEVICE float center_x(const Box& box) { return (box.x1 + box.x2) / 2.0f; }
PIOU_HOST_DEVICE float center_y(const Box& box) { return (box.y1 + box.y2) / 2.0f; }

// Of a row of so high a rank, how many columns can be among the k closest: a point has at least as many as
// close as its ranks, counted from 1, multiply to.
PIOU_HOST_DEVICE int columns_in_reach(int k, int row_rank, int columns) {
  const int reach = k / (row_rank + 1);
  return reach < columns ? reach : columns;
}

// Orders the candidates of a level: by distance from the center, then by the ranks of their row and column.
PIOU_HOST_DEVICE uint64_t atss_key(float dx, float dy, int row_rank, int column_rank) {
  return static_cast<uint64_t>(bits_of(dx * dx + dy * dy)) << 32 |
         static_cast<uint64_t>(static_cast<uint32_t>(row_rank * kMaxK + column_rank));
}

// What a point is to a box that holds it or not.
PIOU_HOST_DEVICE float atss_value(const AtssRule& rule, float stride, const Box& box, float x, float y) {
  float value = 1.0f;
  if (rule.metric != AtssMetric::kPseudoIou) {
    const float half = rule.anchor_scale * stride / 2.0f;
    const Box anchor{x - half, y - half, x + half, y + half};
    value = is_valid(anchor) ? box_iou(anchor, box) : 0.0f;
  }
  if (rule.metric != AtssMetric::kAnchorIou) {
    const Distances d = distances(box, x, y);
    value = is_inside(d) ? pseudo_iou(d) * value : 0.0f;
  }
  return value;
}

// The mean of a box's values plus their standard deviation, both summed from the first value to the last.
PIOU_HOST_DEVICE float atss_threshold(const float* values, int count) {
  float sum = 0.0f;
  for (int i = 0; i < count; ++i) sum += values[i];
  const float mean = sum / static_cast<float>(count);
  if (count == 1) return mean;
  float squares = 0.0f;
  for (int i = 0; i < count; ++i) squares += (values[i] - mean) * (values[i] - mean);
  return mean + std::sqrt(squares / static_cast<float>(count - 1));
}

// The strongest claim of all boxes of an image to a point; there must be a valid one.
PIOU_HOST_DEVICE int64_t strongest_claim(const TopKParams& params, const AtssRule& rule, const Rows& rows,
                                         float stride, float x, float y) {
  int64_t strongest = kBackground;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const Box box = load_box(params.boxes, row);
    if (!is_valid(box)) continue;
    const int64_t claim = claim_of(atss_value(rule, stride, box, x, y), row);
    if (claim > strongest) strongest = claim;
  }
  return strongest;
}

}  // namespace pseudo_iou_ops
