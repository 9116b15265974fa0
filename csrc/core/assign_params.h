// Everything a call of an assignment hands to a kernel: plain numbers and pointers.
#pragma once

#include "level.h"
#include "rule.h"

namespace pseudo_iou_ops {

constexpr int kMaxImagesByValue = 1000;  // as in pseudo_iou_ops/assignment.py
constexpr int64_t kBackground = -1;
constexpr int64_t kIgnored = -2;

// The rows of `boxes` that belong to one image.
struct Rows {
  int begin, end;
};

// What all assignments have.
struct CallParams {
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

  int64_t* matched;         // (num_images, num_points)
  int64_t* matched_labels;  // (num_images, num_points)
  float* ltrb;              // (num_images, num_points, 4)
  int64_t* num_pos;         // (num_images)
  int64_t* pos_per_box;     // (num_boxes)
};

// Where points choose boxes. The counters are zero on entry.
struct AssignParams : CallParams {
  Rule rule;
  float* pseudo_iou;  // (num_images, num_points)
  float* centerness;  // (num_images, num_points)
};

PIOU_HOST_DEVICE int64_t clamp(int64_t value, int64_t low, int64_t high) {
  return value < low ? low : (value > high ? high : value);
}

// Malformed offsets cannot be seen without a synchronisation; clamped, they read nothing outside.
PIOU_HOST_DEVICE Rows image_rows(const int64_t* offsets, int64_t image, int64_t num_boxes) {
  const int64_t begin = clamp(offsets[image], 0, num_boxes);
  return {static_cast<int>(begin), static_cast<int>(clamp(offsets[image + 1], begin, num_boxes))};
}

}  // namespace pseudo_iou_ops
