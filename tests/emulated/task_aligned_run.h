// The CUDA kernels of the task-aligned assignment on the CPU: those that launch/task_aligned.cu would start,
// one after another.
#pragma once

#include "predicted_run.h"

// The list of a box begins where its last point was exchanged for another.
inline unsigned long long atomicExch(unsigned long long* address, unsigned long long value) {
  return std::exchange(*address, value);
}

#include "../../csrc/kernels/task_aligned.cuh"

namespace task_aligned_run {

using namespace predicted_run;

// The arguments of assign_task_aligned.out, then how to run it; `offsets_on_host` lets them travel by value,
// and more boxes than `wanted_blocks` share a block.
inline void assign_task_aligned(
    const Array<float>& boxes, const Array<int64_t>& labels, const Array<int64_t>& offsets,
    const std::vector<int64_t>& level_shapes, const std::vector<double>& strides, double offset,
    const py::object& ignore_boxes, const py::object& ignore_offsets, const py::object& valid_sizes,
    const py::tuple& pred_boxes, const py::tuple& scores, bool boxes_are_ltrb, bool scores_are_logits, int k,
    double alpha, int beta, bool ciou, bool all_candidates, double inside_margin, double min_side, int among,
    int64_t keep, double eps, Array<int64_t> matched, Array<int64_t> matched_labels, Array<float> ltrb,
    Array<float> iou, Array<float> score, Array<int64_t> num_pos, Array<int64_t> pos_per_box,
    bool offsets_on_host, int64_t wanted_blocks, const std::string& schedule, unsigned seed) {
  TaskAlignedParams params{};
  params.call = make_params(
      {boxes, labels, offsets, level_shapes, strides, offset, ignore_boxes, ignore_offsets, valid_sizes},
      {matched, matched_labels, ltrb, iou, score, num_pos, pos_per_box}, offsets_on_host);
  params.predictions =
      make_predictions(pred_boxes, scores, params.call.num_images, boxes_are_ltrb, scores_are_logits);
  params.rule = {k,
                 static_cast<float>(alpha),
                 beta,
                 ciou,
                 all_candidates,
                 static_cast<float>(inside_margin),
                 static_cast<float>(min_side),
                 static_cast<Among>(among),
                 keep,
                 static_cast<float>(eps)};
  std::vector<int64_t> scratch(params.call.num_boxes, -99);
  launch_task_aligned_kernels(params, scratch.data(), Launcher{schedule_named(schedule), seed},
                              wanted_blocks);
}

}  // namespace task_aligned_run
