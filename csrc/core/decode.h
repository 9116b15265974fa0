// Which logits are candidates, their scores and their order, in the same bits on every device.
#pragma once

#include "exact.h"
#include "head.h"
#include "reduced_precision.h"

namespace pseudo_iou_ops {

// float64 is rounded before anything else, so that one sigmoid serves all types.
template <class T>
PIOU_HOST_DEVICE float as_float(T value) {
  return static_cast<float>(widen(value));
}

// Below every logit whose score is at least the threshold, however the score is rounded: less needs no score.
inline float logit_bound(float threshold) {
  if (!(threshold > 0)) return -INFINITY;
  const double below = (threshold < 1 ? threshold : 1) * (1 - 0x1p-21);
  const double logit = std::log(below / (1 - below));
  return static_cast<float>(logit - 1e-3 * (1 + std::abs(logit)));
}

// A candidate as one number, larger for the better one: the bits of its score, which is not negative, and of
// equals the lower place. A place is point * classes + class; it is below 2^32 - 1, so that no key is 0.
constexpr int64_t kMaxPlaces = 0xffffffffll;
constexpr int kKeyBits = 62;  // a score of at most 1 leaves two bits clear

PIOU_HOST_DEVICE uint64_t candidate_key(float score, uint32_t place) {
  return static_cast<uint64_t>(bits_of(score)) << 32 | (0xffffffffu - place);
}

PIOU_HOST_DEVICE float score_of(uint64_t key) { return float_of(static_cast<uint32_t>(key >> 32)); }

PIOU_HOST_DEVICE uint32_t place_of(uint64_t key) { return 0xffffffffu - static_cast<uint32_t>(key); }

// Everything one call of decode_topk hands to a kernel: plain numbers and pointers.
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
