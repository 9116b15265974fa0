// Which logits are candidates, their scores and their order, in the same bits on every device: sums, products
// and one division, none of them contracted (-ffp-contract=off, -fmad=false).
#pragma once

#include "reduced_precision.h"

namespace pseudo_iou_ops {

// float64 is rounded before anything else, so that one sigmoid serves all types.
template <class T>
PIOU_HOST_DEVICE float as_float(T value) {
  return static_cast<float>(widen(value));
}

// The sigmoid, to 3 units in the last place; 0 below -87, where it is less than 1.7e-38. Not for NaN.
PIOU_HOST_DEVICE float exact_sigmoid(float logit) {
  constexpr float kRounder = 12582912.0f;  // 1.5 * 2^23: added, it leaves the nearest integer in the low bits
  const float x = logit < 0.0f ? logit : -logit;
  if (x < -87.0f) return logit < 0.0f ? 0.0f : 1.0f;
  const float shifted = x * 1.44269504f + kRounder;
  const float exponent = shifted - kRounder;
  // ln 2 in two parts; the first has few enough bits for an exact product.
  const float rest = exponent * 2.12194440e-4f + (exponent * -0.693359375f + x);
  float series = 1.381446724e-3f * rest + 8.368780836e-3f;
  series = series * rest + 4.166839272e-2f;
  series = series * rest + 1.666651964e-1f;
  series = series * rest + 4.999999404e-1f;
  const float mantissa = (series * rest * rest + rest) + 1.0f;
  const float exponential = float_of(bits_of(mantissa) + (bits_of(shifted) << 23));
  return (logit < 0.0f ? exponential : 1.0f) / (1.0f + exponential);
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

}  // namespace pseudo_iou_ops
