// The assign_sim_ota op: checks, and the structs of the kernel.
// A Backend has `static void run(const SimOtaParams&, ScalarType box_type, const CallArguments&)`.
#pragma once

#include "../core/sim_ota.h"
#include "predictions.h"

namespace pseudo_iou_ops {

inline void set_objectness(const std::vector<Tensor>& objectness, const CallArguments& a,
                           SimOtaParams& params) {
  if (objectness.empty()) return;
  params.objectness = describe_head("objectness", objectness);
  params.objectness_type = float_type("objectness", objectness[0].scalar_type());
  check_head("objectness", params.objectness, a);
  check_device("objectness", objectness[0], a.boxes);
  STD_TORCH_CHECK(params.objectness.num_channels == 1, "objectness: expected 1 channel, got ",
                  params.objectness.num_channels);
}

// Both assign_sim_ota and assign_sim_ota.out, which brings the tensors to write, with the arguments of
// library.cpp.
template <class Backend, class... Outputs>
auto run_assign_sim_ota(const Tensor& boxes, const Tensor& labels, const Tensor& offsets,
                        const std::vector<int64_t>& level_shapes, const std::vector<double>& strides,
                        double offset, const std::optional<Tensor>& ignore_boxes,
                        const std::optional<Tensor>& ignore_offsets, const std::optional<Tensor>& valid_sizes,
                        const std::vector<Tensor>& pred_boxes, const std::vector<Tensor>& scores,
                        bool boxes_are_ltrb, bool scores_are_logits, const std::vector<Tensor>& objectness,
                        double radius, bool center_region, int64_t top_ious, double iou_weight,
                        double cls_weight, double eps, const Outputs&... outputs) {
  check_top_ious(top_ious);
  check_not_negative("iou_weight", iou_weight);
  check_not_negative("cls_weight", cls_weight);
  const SimOtaRule rule{static_cast<float>(radius),     center_region,
                        static_cast<int>(top_ious),     static_cast<float>(iou_weight),
                        static_cast<float>(cls_weight), static_cast<float>(eps)};
  const CallArguments a{boxes,  labels,       offsets,        level_shapes, strides,
                        offset, ignore_boxes, ignore_offsets, valid_sizes};
  const auto run = [&](const TopKParams& call) {
    SimOtaParams params{
        call, rule, make_predictions(pred_boxes, scores, boxes_are_ltrb, scores_are_logits, a), {}, {}};
    set_objectness(objectness, a, params);
    Backend::run(params, pred_boxes[0].scalar_type(), a);
  };
  return run_top_k(a, run, outputs...);
}

template <class Backend>
constexpr auto assign_sim_ota = &run_assign_sim_ota<Backend>;

template <class Backend>
constexpr auto assign_sim_ota_out =
    &run_assign_sim_ota<Backend, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

}  // namespace pseudo_iou_ops
