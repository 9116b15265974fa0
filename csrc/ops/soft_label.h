// The assign_soft_label op: checks, and the structs of the kernel.
// A Backend has `static void run(const SoftLabelParams&, ScalarType box_type, const CallArguments&)`.
#pragma once

#include "../core/soft_label.h"
#include "predictions.h"

namespace pseudo_iou_ops {

// Both assign_soft_label and assign_soft_label.out, which brings the tensors to write, with the arguments of
// library.cpp.
template <class Backend, class... Outputs>
auto run_assign_soft_label(const Tensor& boxes, const Tensor& labels, const Tensor& offsets,
                           const std::vector<int64_t>& level_shapes, const std::vector<double>& strides,
                           double offset, const std::optional<Tensor>& ignore_boxes,
                           const std::optional<Tensor>& ignore_offsets,
                           const std::optional<Tensor>& valid_sizes, const std::vector<Tensor>& pred_boxes,
                           const std::vector<Tensor>& scores, bool boxes_are_ltrb, double radius,
                           int64_t top_ious, double iou_weight, double eps, const Outputs&... outputs) {
  check_top_ious(top_ious);
  check_not_negative("radius", radius);
  check_not_negative("iou_weight", iou_weight);
  const SoftLabelRule rule{static_cast<float>(radius), static_cast<int>(top_ious),
                           static_cast<float>(iou_weight), static_cast<float>(eps)};
  const CallArguments a{boxes,  labels,       offsets,        level_shapes, strides,
                        offset, ignore_boxes, ignore_offsets, valid_sizes};
  const auto run = [&](const TopKParams& call) {
    const Predictions predictions = make_predictions(pred_boxes, scores, boxes_are_ltrb, true, a);
    Backend::run({call, rule, predictions}, pred_boxes[0].scalar_type(), a);
  };
  return run_top_k(a, run, outputs...);
}

template <class Backend>
constexpr auto assign_soft_label = &run_assign_soft_label<Backend>;

template <class Backend>
constexpr auto assign_soft_label_out =
    &run_assign_soft_label<Backend, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

}  // namespace pseudo_iou_ops
