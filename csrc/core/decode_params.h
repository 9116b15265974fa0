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
  float logit_bound;  // no logit below it has a score above the threshold
  int64_t k;          // of a level

  float* boxes;     // (images, levels, k, 4)
  float* scores;    // (images, levels, k)
  int64_t* labels;  // (images, levels, k)
  int64_t* counts;  // (images, levels)

  PIOU_HOST_DEVICE int64_t level_size(int level) const {  // logits of an image
    return logits.levels[level].num_points * logits.num_channels;
  }
};

}  // namespace pseudo_iou_ops
