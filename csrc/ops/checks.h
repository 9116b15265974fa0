// What every caller of an op must respect, on every device. The Python functions refuse a bad call
// first, with the argument's name; these keep a direct call of the op from reading outside its inputs.
#pragma once

#include <cmath>
#include <limits>

#include "../core/level.h"
#include "stable.h"

namespace pseudo_iou_ops {

constexpr int64_t kMaxSide = std::numeric_limits<int>::max();
constexpr int64_t kMaxLevelSide = kMaxSide - 64;  // a tile may reach past the last cell
constexpr int64_t kMaxPoints = int64_t{1} << 40;

// A position in one of the lists of pseudo_iou_ops/rule.py.
inline void check_choice(const char* name, int64_t value, int last) {
  STD_TORCH_CHECK(value >= 0 && value <= last, name, ": expected a number in [0, ", last, "], got ", value);
}

inline void check_tensor(const char* name, const Tensor& tensor, ScalarType dtype, int64_t dims) {
  STD_TORCH_CHECK(tensor.scalar_type() == dtype, name, ": expected dtype ",
                  torch::headeronly::toString(dtype), ", got ",
                  torch::headeronly::toString(tensor.scalar_type()));
  STD_TORCH_CHECK(tensor.dim() == dims, name, ": expected ", dims, " dimensions, got ", tensor.dim());
  STD_TORCH_CHECK(tensor.is_contiguous(), name, ": expected a contiguous tensor");
}

inline void check_size(const char* name, const Tensor& tensor, int64_t dim, int64_t size) {
  STD_TORCH_CHECK(tensor.size(dim) == size, name, ": expected size ", size, " in dimension ", dim, ", got ",
                  tensor.size(dim));
}

inline void check_device(const char* name, const Tensor& tensor, const Tensor& input) {
  STD_TORCH_CHECK(tensor.device() == input.device(), name, ": expected the device of the first input");
}

inline void check_offsets(const char* name, const Tensor& offsets, int64_t num_images, const Tensor& boxes) {
  check_tensor(name, offsets, ScalarType::Long, 1);
  check_size(name, offsets, 0, num_images + 1);
  if (offsets.device().type() == DeviceType::CPU) return;  // they travel by value
  check_device(name, offsets, boxes);
}

inline void check_boxes(const char* name, const Tensor& boxes) {
  check_tensor(name, boxes, ScalarType::Float, 2);
  check_size(name, boxes, 1, 4);
  STD_TORCH_CHECK(boxes.size(0) <= kMaxSide, name, ": expected fewer than 2^31 rows, got ", boxes.size(0));
}

inline void check_output(const char* name, const Tensor& output, ScalarType dtype,
                         const std::vector<int64_t>& sizes, const Tensor& boxes) {
  check_tensor(name, output, dtype, static_cast<int64_t>(sizes.size()));
  for (size_t dim = 0; dim < sizes.size(); ++dim) {
    check_size(name, output, static_cast<int64_t>(dim), sizes[dim]);
  }
  check_device(name, output, boxes);
}

inline void check_offset(double offset) {
  STD_TORCH_CHECK(std::isfinite(static_cast<float>(offset)),
                  "offset: expected a number that float32 can hold, got ", offset);
}

inline void check_ranges(const std::vector<double>& regress_ranges, const std::vector<double>& strides) {
  STD_TORCH_CHECK(regress_ranges.empty() || regress_ranges.size() == 2 * strides.size(),
                  "regress_ranges: expected no or two bounds per level, got ", regress_ranges.size(),
                  " numbers for ", strides.size(), " levels");
}

inline void check_levels(const std::vector<int64_t>& level_shapes, const std::vector<double>& strides) {
  STD_TORCH_CHECK(strides.size() <= kMaxLevels, "strides: expected at most ", kMaxLevels, " levels, got ",
                  strides.size());
  STD_TORCH_CHECK(level_shapes.size() == 2 * strides.size(),
                  "level_shapes: expected a height and a width per level, got ", level_shapes.size(),
                  " numbers for ", strides.size(), " levels");
  int64_t points = 0;
  for (size_t level = 0; level < strides.size(); ++level) {
    const int64_t height = level_shapes[2 * level], width = level_shapes[2 * level + 1];
    STD_TORCH_CHECK(height >= 0 && width >= 0 && height <= kMaxLevelSide && width <= kMaxLevelSide,
                    "level_shapes: expected sizes in [0, 2^31 - 64), got (", height, ", ", width, ")");
    points += height * width;
    STD_TORCH_CHECK(points <= kMaxPoints, "level_shapes: expected at most 2^40 points an image");
  }
  for (const double stride : strides) {
    const float rounded = static_cast<float>(stride);
    STD_TORCH_CHECK(rounded > 0 && std::isfinite(rounded),
                    "strides: expected numbers above 0 that float32 can hold, got ", stride);
  }
}

}  // namespace pseudo_iou_ops
