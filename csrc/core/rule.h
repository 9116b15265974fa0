// The switches of an assignment, as the kernels see them. The order of the names is that of
// pseudo_iou_ops/rule.py.
#pragma once

#include "metrics.h"

namespace pseudo_iou_ops {

enum class Order : int { kChooseThenFilter, kFilterThenChoose };
enum class Resolve : int { kMinArea, kMaxMetric };

struct Rule {
  Metric metric;
  Order order;
  Resolve resolve;
  float threshold;
  float ignore_threshold;
  bool has_ignore_band;
  bool inclusive;
  bool normalize_by_stride;

  // The metric is needed for every candidate, not for the chosen box alone.
  bool judges_every_candidate() const {
    return order == Order::kFilterThenChoose || resolve == Resolve::kMaxMetric;
  }
};

}  // namespace pseudo_iou_ops
