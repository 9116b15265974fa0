// The tensors that every assignment takes, checked.
#pragma once

#include "checks.h"

namespace pseudo_iou_ops {

// `Arguments` has the boxes, labels and offsets of a batch, its regions to ignore and its valid sizes.
template <class Arguments>
void check_ground_truths(const Arguments& a) {
  check_boxes("boxes", a.boxes);
  check_tensor("labels", a.labels, ScalarType::Long, 1);
  check_size("labels", a.labels, 0, a.num_boxes());
  check_device("labels", a.labels, a.boxes);
  STD_TORCH_CHECK(a.offsets.numel() > 0, "offsets: expected at least one entry, got none");
  check_offsets("offsets", a.offsets, a.num_images(), a.boxes);
  STD_TORCH_CHECK(a.ignore_boxes.has_value() == a.ignore_offsets.has_value(),
                  "ignore_boxes, ignore_offsets: expected both or neither");
  if (a.ignore_boxes.has_value()) {
    check_boxes("ignore_boxes", *a.ignore_boxes);
    check_device("ignore_boxes", *a.ignore_boxes, a.boxes);
    check_offsets("ignore_offsets", *a.ignore_offsets, a.num_images(), a.boxes);
  }
  if (a.valid_sizes.has_value()) {
    check_tensor("valid_sizes", *a.valid_sizes, ScalarType::Float, 2);
    check_size("valid_sizes", *a.valid_sizes, 0, a.num_images());
    check_size("valid_sizes", *a.valid_sizes, 1, 2);
    check_device("valid_sizes", *a.valid_sizes, a.boxes);
  }
}

}  // namespace pseudo_iou_ops
