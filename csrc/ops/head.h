// The predictions of a head as ops take them: a list of one tensor per level, checked and described.
#pragma once

#include "../core/head.h"
#include "allocate.h"
#include "checks.h"

namespace pseudo_iou_ops {

// A level as (images, points, channels), wherever its points and channels lie.
struct LevelShape {
  int64_t images, points, channels;
  bool channels_last;
};

// A stride only says something about a dimension that has more than one entry.
inline bool has_stride(const Tensor& tensor, int64_t dim, int64_t stride) {
  return tensor.size(dim) <= 1 || tensor.stride(dim) == stride;
}

inline LevelShape level_shape(const char* name, const Tensor& level) {
  const int64_t dims = level.dim();
  STD_TORCH_CHECK(dims == 3 || dims == 4, name, ": expected 3 or 4 dimensions, got ", dims);
  const int64_t channel_dim = dims == 3 ? 2 : 1, row_dim = dims == 3 ? 1 : 2;
  const int64_t images = level.size(0), channels = level.size(channel_dim);
  const int64_t width = dims == 3 ? 1 : level.size(3), points = level.size(row_dim) * width;
  // Kernels add the places of a tile to a channel.
  STD_TORCH_CHECK(images <= kMaxSide && points <= kMaxSide && channels <= kMaxSide / 2, name,
                  ": expected fewer than 2^31 images and points and 2^30 channels");
  const auto is_dense = [&](int64_t channel_stride, int64_t point_stride) {
    return has_stride(level, 0, points * channels) && has_stride(level, channel_dim, channel_stride) &&
           has_stride(level, row_dim, width * point_stride) &&
           (dims == 3 || has_stride(level, 3, point_stride));
  };
  const bool channels_last = is_dense(1, channels);
  STD_TORCH_CHECK(channels_last || is_dense(points, 1) || level.numel() == 0, name,
                  ": expected a dense tensor, its channels last or its points last in memory");
  return {images, points, channels, channels_last};
}

inline Head describe_head(const char* name, const std::vector<Tensor>& levels) {
  STD_TORCH_CHECK(!levels.empty() && levels.size() <= kMaxLevels, name, ": expected 1 to ", kMaxLevels,
                  " levels, got ", levels.size());
  const LevelShape first = level_shape(name, levels[0]);
  Head head{};
  head.num_images = first.images;
  head.num_channels = first.channels;
  for (const Tensor& level : levels) {
    const LevelShape shape = level_shape(name, level);
    STD_TORCH_CHECK(level.scalar_type() == levels[0].scalar_type(), name, ": expected levels of one dtype");
    check_device(name, level, levels[0]);
    STD_TORCH_CHECK(shape.images == first.images && shape.channels == first.channels, name,
                    ": expected levels of the same images and channels");
    head.levels[head.num_levels++] = {level.const_data_ptr(), nullptr, shape.points, head.num_points,
                                      shape.channels_last};
    head.num_points += shape.points;
  }
  return head;
}

// Tensors for the gradients, which the head then points to.
inline std::vector<Tensor> allocate_gradients(const std::vector<Tensor>& levels, Head& head) {
  std::vector<Tensor> gradients;
  for (size_t level = 0; level < levels.size(); ++level) {
    gradients.push_back(empty_gradient(levels[level]));
    head.levels[level].gradients = gradients[level].mutable_data_ptr();
  }
  return gradients;
}

// (images, points) of the head, or (images, points, last) if last > 0.
inline void check_per_point(const char* name, const Tensor& tensor, ScalarType dtype, const Head& head,
                            const Tensor& input, int64_t last = 0) {
  check_tensor(name, tensor, dtype, last > 0 ? 3 : 2);
  check_size(name, tensor, 0, head.num_images);
  check_size(name, tensor, 1, head.num_points);
  if (last > 0) check_size(name, tensor, 2, last);
  check_device(name, tensor, input);
}

inline void check_normalizer(const std::optional<Tensor>& normalizer, const Tensor& input) {
  if (!normalizer.has_value()) return;
  STD_TORCH_CHECK(normalizer->scalar_type() == ScalarType::Float && normalizer->numel() == 1,
                  "normalizer: expected one float32 value");
  check_device("normalizer", *normalizer, input);
}

}  // namespace pseudo_iou_ops
