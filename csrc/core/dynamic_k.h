// What SimOTA and dynamic soft labels share: a box takes as many points as its overlaps add up to, and those
// of the least cost. Float32, in the order of the contract.
#pragma once

#include "box.h"
#include "predictions.h"
#include "top_k_params.h"

namespace pseudo_iou_ops {

// A sum over classes is that of so many sums: class c belongs to that of c mod kPartialSums.
constexpr int kPartialSums = 8;

// How a point stands to a box, whatever its prediction.
struct PointPrior {
  bool is_own;  // a point that is not comes after all that are
  float cost;   // the part of the cost that grows with the distance
};

// What a class adds to the cost of a point, where it is another's class and where it is the box's own.
struct ClassTerms {
  float negative, positive;
};

// The logarithm in a cross entropy: not below -100, and -100 of what is not a normal number.
PIOU_HOST_DEVICE float floored_log(float x) {
  const bool is_normal = x >= 1.17549435e-38f;  // 2^-126
  const float log = exact_log(is_normal ? x : 1.0f);
  return is_normal ? log : -100.0f;
}

// It may be the value of a match, so that its zero is +0.
PIOU_HOST_DEVICE float overlap_of(const Box& prediction, const Box& box) {
  return is_valid(prediction) ? box_iou(prediction, box) + 0.0f : 0.0f;
}

PIOU_HOST_DEVICE float overlap_cost(float overlap, float eps, float weight) {
  return -floored_log(overlap + eps) * weight;
}

// The classes' part of the cost, from the sum of all their negative terms. That contains the box's own, and
// no rounded sum is less than one of its parts: the result is not less than `own.positive`.
PIOU_HOST_DEVICE float class_cost(float negative_sum, const ClassTerms& own) {
  return (negative_sum - own.negative) + own.positive;
}

// How many points a box takes, from its largest overlaps in falling order.
PIOU_HOST_DEVICE int dynamic_count(const float* overlaps, int count) {
  float sum = 0.0f;
  for (int i = 0; i < count; ++i) sum = sum + overlaps[i];
  return sum > 1.0f ? static_cast<int>(sum) : 1;
}

// The order of a box's points, as of a point's boxes: own before others, then the lesser cost. It is a
// number.
PIOU_HOST_DEVICE uint32_t cost_key(bool is_own, float cost) {
  return bits_of(cost > 0.0f ? cost : 0.0f) | (is_own ? 0u : 0x80000000u);
}

// What a box lays claim to a point with: the lesser key wins, then the lower row; as claim_of, which orders
// by a value. A key takes 32 bits and a row 31.
PIOU_HOST_DEVICE int64_t claim_of_key(uint32_t key, int64_t row) {
  return static_cast<int64_t>(static_cast<uint64_t>(0xffffffffu - key) << 31 |
                              (0x7fffffffu - static_cast<uint32_t>(row)));
}

PIOU_HOST_DEVICE int64_t row_of_key_claim(int64_t claim) {
  return 0x7fffffffu - static_cast<uint32_t>(static_cast<uint64_t>(claim) & 0x7fffffffu);
}

}  // namespace pseudo_iou_ops
