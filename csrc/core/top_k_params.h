// What a call of the assigners where boxes choose points hands to a kernel: plain numbers and pointers.
#pragma once

#include "assign_params.h"
#include "elementary.h"

namespace pseudo_iou_ops {

constexpr int kMaxK = 32;  // as in pseudo_iou_ops/top_k_rules.py: a warp holds one a lane

struct TopKParams {
  const float* boxes;                            // (num_boxes, 4)
  const int64_t* labels;                         // (num_boxes)
  const int64_t* offsets;                        // (num_images + 1)
  const float* ignore_boxes;                     // (num_ignore_boxes, 4) or null
  const int64_t* ignore_offsets;                 // (num_images + 1) or null
  const float* valid_sizes;                      // (num_images, 2) height width, or null
  bool offsets_on_host, ignore_offsets_on_host;  // on CUDA: they travel by value
  int64_t num_images, num_boxes, num_ignore_boxes, num_points;

  Level levels[kMaxLevels];
  int num_levels;
  float offset;

  int64_t* matched;         // (num_images, num_points); claims until every box has chosen
  int64_t* matched_labels;  // (num_images, num_points)
  float* ltrb;              // (num_images, num_points, 4)
  float* iou;               // (num_images, num_points)
  float* score;             // (num_images, num_points)
  int64_t* num_pos;         // (num_images)
  int64_t* pos_per_box;     // (num_boxes)
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
