// ATSS's CUDA kernels on the CPU: those that launch/atss.cu would start, one after another.
#pragma once

#include "top_k_run.h"

#include "../../csrc/kernels/atss.cuh"

namespace atss_run {

using namespace top_k_run;

// The arguments of assign_atss.out, then how to run it; `offsets_on_host` lets them travel by value.
inline void assign_atss(const Array<float>& boxes, const Array<int64_t>& labels,
                        const Array<int64_t>& offsets, const std::vector<int64_t>& level_shapes,
                        const std::vector<double>& strides, double offset, const py::object& ignore_boxes,
                        const py::object& ignore_offsets, const py::object& valid_sizes, int k, int metric,
                        double anchor_scale, bool inclusive, double inside_margin, bool all_boxes_compete,
                        Array<int64_t> matched, Array<int64_t> matched_labels, Array<float> ltrb,
                        Array<float> iou, Array<float> score, Array<int64_t> num_pos,
                        Array<int64_t> pos_per_box, bool offsets_on_host, const std::string& schedule,
                        unsigned seed) {
  const TopKParams params = make_params(
      {boxes, labels, offsets, level_shapes, strides, offset, ignore_boxes, ignore_offsets, valid_sizes},
      {matched, matched_labels, ltrb, iou, score, num_pos, pos_per_box}, offsets_on_host);
  const AtssRule rule{k,         static_cast<AtssMetric>(metric),   static_cast<float>(anchor_scale),
                      inclusive, static_cast<float>(inside_margin), all_boxes_compete};
  launch_atss_kernels(params, rule, Launcher{schedule_named(schedule), seed});
}

}  // namespace atss_run
