// The assign_task_aligned op: checks, and the structs of the kernel.
// A Backend has `static void run(const TaskAlignedParams&, ScalarType box_type, const TopKArguments&)`.
#pragma once

#include "../core/task_aligned_params.h"
#include "head.h"
#include "top_k.h"

namespace pseudo_iou_ops {

// A head has as many levels as the pyramid, or one for all of them.
inline void check_head(const char* name, const Head& head, const TopKArguments& a) {
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
                                    bool boxes_are_ltrb, bool scores_are_logits, const TopKArguments& a) {
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

inline void check_rule(const TaskAlignedRule& rule) {
  STD_TORCH_CHECK(rule.k >= 1 && rule.k <= kMaxK, "k: expected a number in [1, ", kMaxK, "], got ", rule.k);
  STD_TORCH_CHECK(rule.beta >= 0 && rule.beta <= kMaxBeta, "beta: expected a number in [0, ", kMaxBeta,
                  "], got ", rule.beta);
  STD_TORCH_CHECK(rule.alpha >= 0, "alpha: expected a number of at least 0, got ", rule.alpha);
  STD_TORCH_CHECK(rule.keep >= 0, "keep: expected a number of at least 0, got ", rule.keep);
}

// Both assign_task_aligned and assign_task_aligned.out, which brings the tensors to write, with the arguments
// of library.cpp.
template <class Backend, class... Outputs>
auto run_assign_task_aligned(const Tensor& boxes, const Tensor& labels, const Tensor& offsets,
                             const std::vector<int64_t>& level_shapes, const std::vector<double>& strides,
                             double offset, const std::optional<Tensor>& ignore_boxes,
                             const std::optional<Tensor>& ignore_offsets,
                             const std::optional<Tensor>& valid_sizes, const std::vector<Tensor>& pred_boxes,
                             const std::vector<Tensor>& scores, bool boxes_are_ltrb, bool scores_are_logits,
                             int64_t k, double alpha, int64_t beta, bool ciou, bool all_candidates,
                             double inside_margin, double min_side, int64_t among, int64_t keep, double eps,
                             const Outputs&... outputs) {
  check_choice("among", among, static_cast<int>(Among::kCount) - 1);
  const TaskAlignedRule rule{static_cast<int>(k),
                             static_cast<float>(alpha),
                             static_cast<int>(beta),
                             ciou,
                             all_candidates,
                             static_cast<float>(inside_margin),
                             static_cast<float>(min_side),
                             static_cast<Among>(among),
                             keep,
                             static_cast<float>(eps)};
  check_rule(rule);
  const TopKArguments a{boxes,  labels,       offsets,        level_shapes, strides,
                        offset, ignore_boxes, ignore_offsets, valid_sizes};
  const auto run = [&](const TopKParams& params) {
    const Predictions predictions =
        make_predictions(pred_boxes, scores, boxes_are_ltrb, scores_are_logits, a);
    Backend::run({params, rule, predictions}, pred_boxes[0].scalar_type(), a);
  };
  return run_top_k(a, run, outputs...);
}

template <class Backend>
constexpr auto assign_task_aligned = &run_assign_task_aligned<Backend>;

template <class Backend>
constexpr auto assign_task_aligned_out =
    &run_assign_task_aligned<Backend, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

}  // namespace pseudo_iou_ops
