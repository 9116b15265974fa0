// The numbers of one call as Python hands them over, and how they become what the kernels read.
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
#include <vector>

#include "../core/assign_params.h"
#include "levels.h"

namespace pseudo_iou_ops {

// In the order of the schema in library.cpp.
struct AssignSettings {
  const std::vector<int64_t>& level_shapes;  // H0, W0, H1, W1, ...
  const std::vector<double>& strides;
  double offset;
  int64_t metric;
  double threshold;
  std::optional<double> ignore_threshold;
  bool inclusive;
  int64_t order, resolve;
  const std::vector<double>& regress_ranges;  // low0, high0, ... or empty
  bool open_ranges, normalize_by_stride;

  int64_t num_points() const { return count_points(level_shapes); }
};

// Open bounds become the closed ones between the neighbouring floats, which hold the same numbers.
inline void set_range(const AssignSettings& settings, size_t index, Level& level) {
  level.low = -kInfinity;
  level.high = kInfinity;
  if (settings.regress_ranges.empty()) return;
  level.low = static_cast<float>(settings.regress_ranges[2 * index]);
  level.high = static_cast<float>(settings.regress_ranges[2 * index + 1]);
  if (settings.open_ranges) {
    level.low = std::nextafter(level.low, kInfinity);
    level.high = std::nextafter(level.high, -kInfinity);
  }
}

inline Rule make_rule(const AssignSettings& settings) {
  return {static_cast<Metric>(settings.metric),
          static_cast<Order>(settings.order),
          static_cast<Resolve>(settings.resolve),
          static_cast<float>(settings.threshold),
          static_cast<float>(settings.ignore_threshold.value_or(0.0)),
          settings.ignore_threshold.has_value(),
          settings.inclusive,
          settings.normalize_by_stride};
}

// Sets everything in params that is not a tensor.
inline void apply_settings(const AssignSettings& settings, AssignParams& params) {
  params.offset = static_cast<float>(settings.offset);
  params.rule = make_rule(settings);
  set_levels(settings.level_shapes, settings.strides, params);
  for (int index = 0; index < params.num_levels; ++index) set_range(settings, index, params.levels[index]);
}

}  // namespace pseudo_iou_ops
