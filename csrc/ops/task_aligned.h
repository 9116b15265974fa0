// The assign_task_aligned op: checks, and the structs of the kernel.
// A Backend has `static void run(const TaskAlignedParams&, ScalarType box_type, const CallArguments&)`.
#pragma once

#include "../core/task_aligned.h"
#include "predictions.h"

namespace pseudo_iou_ops {

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
  const CallArguments a{boxes,  labels,       offsets,        level_shapes, strides,
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
