// Everything one call of decode_topk hands to a kernel: plain numbers and pointers.
#pragma once

#include "head.h"

namespace pseudo_iou_ops {

struct DecodeParams {
  Head logits;          // a channel a class
  Head ltrb;            // float32, distances to the sides
  Head centerness;      // one channel of logits; no levels: no centerness
  const float* points;  // (points, 2)
  float score_threshold;
  int64_t k;  // of a level

  float* boxes;     // (images, levels, k, 4)
  float* scores;    // (images, levels, k)
  int64_t* labels;  // (images, levels, k)
  int64_t* counts;  // (images, levels)
};

// Where a channel of a point lies among the values of its level.
PIOU_HOST_DEVICE int64_t value_index(const HeadLevel& level, int64_t channels, int64_t image, int64_t point,
                                     int64_t channel) {
  return image * level.num_points * channels +
         (level.channels_last ? point * channels + channel : channel * level.num_points + point);
}

}  // namespace pseudo_iou_ops
