// What a call of the assigners where boxes choose points hands to a kernel: plain numbers and pointers.
#pragma once

#include "assign_params.h"
#include "elementary.h"

namespace pseudo_iou_ops {

constexpr int kMaxK = 32;  // as in pseudo_iou_ops/top_k_rules.py: a warp holds one a lane

// `matched` holds claims until every box has chosen.
struct TopKParams : CallParams {
  float* iou;    // (num_images, num_points)
  float* score;  // (num_images, num_points)
};

// What a box lays claim to a point with: the larger value wins, then the lower row. Claims are not negative
// and lie above every row, so that they share an array with kBackground and with the rows that take their
// place.
PIOU_HOST_DEVICE int64_t claim_of(float value, int64_t row) {
  return static_cast<int64_t>(static_cast<uint64_t>(bits_of(value)) << 32 |
                              (0xffffffffu - static_cast<uint32_t>(row)));
}

PIOU_HOST_DEVICE int64_t row_of_claim(int64_t claim) {
  return 0xffffffffu - static_cast<uint32_t>(static_cast<uint64_t>(claim) & 0xffffffffu);
}

PIOU_HOST_DEVICE float value_of_claim(int64_t claim) {
  return float_of(static_cast<uint32_t>(static_cast<uint64_t>(claim) >> 32));
}

}  // namespace pseudo_iou_ops
