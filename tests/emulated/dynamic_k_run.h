// The CUDA kernels of SimOTA and of dynamic soft labels on the CPU: those that launch/dynamic_k.cu would
// start, one after another.
#pragma once

#include "predicted_run.h"

#include "../../csrc/kernels/sim_ota.cuh"
#include "../../csrc/kernels/soft_label.cuh"

namespace dynamic_k_run {

using namespace predicted_run;

// The arguments of assign_sim_ota.out, then how to run it. Without objectness it is None.
inline void assign_sim_ota(const Array<float>& boxes, const Array<int64_t>& labels,
                           const Array<int64_t>& offsets, const std::vector<int64_t>& level_shapes,
                           const std::vector<double>& strides, double offset, const py::object& ignore_boxes,
                           const py::object& ignore_offsets, const py::object& valid_sizes,
                           const py::tuple& pred_boxes, const py::tuple& scores, bool boxes_are_ltrb,
                           bool scores_are_logits, const py::object& objectness, double radius,
                           bool center_region, int top_ious, double iou_weight, double cls_weight, double eps,
                           Array<int64_t> matched, Array<int64_t> matched_labels, Array<float> ltrb,
                           Array<float> iou, Array<float> score, Array<int64_t> num_pos,
                           Array<int64_t> pos_per_box, bool offsets_on_host, const std::string& schedule,
                           unsigned seed) {
  SimOtaParams params{};
  params.call = make_params(
      {boxes, labels, offsets, level_shapes, strides, offset, ignore_boxes, ignore_offsets, valid_sizes},
      {matched, matched_labels, ltrb, iou, score, num_pos, pos_per_box}, offsets_on_host);
  const int64_t images = params.call.num_images;
  params.predictions = make_predictions(pred_boxes, scores, images, boxes_are_ltrb, scores_are_logits);
  params.rule = {
      static_cast<float>(radius),     center_region,          top_ious, static_cast<float>(iou_weight),
      static_cast<float>(cls_weight), static_cast<float>(eps)};
  if (!objectness.is_none()) {
    params.objectness = describe_head(objectness, images);
    params.objectness_type = type_of(objectness);
  }
  launch_dynamic_k_kernels<SimOtaOnCuda>(params, Launcher{schedule_named(schedule), seed});
}

// Likewise for assign_soft_label.out.
inline void assign_soft_label(const Array<float>& boxes, const Array<int64_t>& labels,
                              const Array<int64_t>& offsets, const std::vector<int64_t>& level_shapes,
                              const std::vector<double>& strides, double offset,
                              const py::object& ignore_boxes, const py::object& ignore_offsets,
                              const py::object& valid_sizes, const py::tuple& pred_boxes,
                              const py::tuple& scores, bool boxes_are_ltrb, double radius, int top_ious,
                              double iou_weight, double eps, Array<int64_t> matched,
                              Array<int64_t> matched_labels, Array<float> ltrb, Array<float> iou,
                              Array<float> score, Array<int64_t> num_pos, Array<int64_t> pos_per_box,
                              bool offsets_on_host, const std::string& schedule, unsigned seed) {
  SoftLabelParams params{};
  params.call = make_params(
      {boxes, labels, offsets, level_shapes, strides, offset, ignore_boxes, ignore_offsets, valid_sizes},
      {matched, matched_labels, ltrb, iou, score, num_pos, pos_per_box}, offsets_on_host);
  params.predictions = make_predictions(pred_boxes, scores, params.call.num_images, boxes_are_ltrb, true);
  params.rule = {static_cast<float>(radius), top_ious, static_cast<float>(iou_weight),
                 static_cast<float>(eps)};
  launch_dynamic_k_kernels<SoftLabelOnCuda>(params, Launcher{schedule_named(schedule), seed});
}

}  // namespace dynamic_k_run
