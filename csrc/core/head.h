// The predictions of a detector's head, level by level, as they lie in memory.
#pragma once

#include "level.h"

namespace pseudo_iou_ops {

// One level. Dense: an image's are num_points * num_channels values one after another.
struct HeadLevel {
  const void* values;
  void* gradients;  // in the layout of the values, or null
  int64_t num_points, first_point;
  bool channels_last;  // else a channel has its points side by side, as in a contiguous (B, C, H, W)
};

struct Head {
  HeadLevel levels[kMaxLevels];
  int num_levels;
  int64_t num_images, num_points, num_channels;
};

template <class Real>
PIOU_HOST_DEVICE Real inverse_normalizer(const float* normalizer) {
  return normalizer != nullptr ? Real(1) / static_cast<Real>(*normalizer) : Real(1);
}

}  // namespace pseudo_iou_ops
