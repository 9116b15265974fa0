// The predictions that an assignment reads: checked against its call, and described for a kernel.
#pragma once

#include "../core/predictions.h"
#include "head.h"
#include "top_k.h"

namespace pseudo_iou_ops {

// A head has as many levels as the pyramid, or one for all of them.
inline void check_head(const char* name, const Head& head, const CallArguments& a) {
  STD_TORCH_CHECK(head.num_images == a.num_images(), name, ": expected ", a.num_images(), " images, got ",
                  head.num_images);
  STD_TORCH_CHECK(head.num_points == a.num_points(), name, ": expected ", a.num_points(), " points, got ",
                  head.num_points);
  if (head.num_levels == 1) return;
  STD_TORCH_CHECK(head.num_levels == static_cast<int>(a.strides.size()), name,
                  ": expected one tensor or one a level, ", a.strides.size(), ", got ", head.num_levels);
  for (int level = 0; level < head.num_levels; ++level) {
    const int64_t points = a.level_shapes[2 * level] * a.level_shapes[2 * level + 1];
    STD_TORCH_CHECK(head.levels[level].num_points == points, name, ": expected ", points, " points in level ",
                    level, ", got ", head.levels[level].num_points);
  }
}

inline FloatType float_type(const char* name, ScalarType dtype) {
  switch (dtype) {
    case ScalarType::Float:
      return FloatType::kFloat;
    case ScalarType::Half:
      return FloatType::kHalf;
    case ScalarType::BFloat16:
      return FloatType::kBfloat16;
    case ScalarType::Double:
      return FloatType::kDouble;
    default:
      STD_TORCH_CHECK(false, name, ": expected dtype float32, float16, bfloat16 or float64, got ",
                      torch::headeronly::toString(dtype));
  }
  return FloatType::kFloat;
}

inline Predictions make_predictions(const std::vector<Tensor>& pred_boxes, const std::vector<Tensor>& scores,
                                    bool boxes_are_ltrb, bool scores_are_logits, const CallArguments& a) {
  Predictions predictions{describe_head("pred_boxes", pred_boxes),
                          describe_head("scores", scores),
                          float_type("pred_boxes", pred_boxes[0].scalar_type()),
                          float_type("scores", scores[0].scalar_type()),
                          boxes_are_ltrb,
                          scores_are_logits};
  check_head("pred_boxes", predictions.boxes, a);
  check_head("scores", predictions.scores, a);
  check_device("pred_boxes", pred_boxes[0], a.boxes);
  check_device("scores", scores[0], a.boxes);
  STD_TORCH_CHECK(predictions.boxes.num_channels == 4, "pred_boxes: expected 4 channels, got ",
                  predictions.boxes.num_channels);
  return predictions;
}

inline void check_top_ious(int64_t top_ious) {
  STD_TORCH_CHECK(top_ious >= 1 && top_ious <= kMaxK, "top_ious: expected a number in [1, ", kMaxK, "], got ",
                  top_ious);
}

// Costs add up from parts that are at least 0.
inline void check_not_negative(const char* name, double value) {
  STD_TORCH_CHECK(value >= 0, name, ": expected a number of at least 0, got ", value);
}

}  // namespace pseudo_iou_ops
