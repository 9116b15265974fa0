// ATSS's CUDA kernels on the CPU: those that launch/atss.cu would start, one after another.
#pragma once

#include "arrays.h"

#include "../../csrc/kernels/atss.cuh"
#include "../../csrc/ops/levels.h"

namespace atss_run {

using namespace arrays;
using namespace pseudo_iou_ops;

inline void run(const TopKParams& params, const AtssRule& rule, cuda_shim::Schedule schedule, unsigned seed) {
  launch_atss_kernels(params, rule, [&](auto kernel, int64_t blocks, int threads, const auto&... arguments) {
    cuda_shim::launch(static_cast<unsigned>(blocks), static_cast<unsigned>(threads), schedule, seed,
                      [&] { kernel(arguments...); });
  });
}

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
  TopKParams params{};
  params.boxes = boxes.data();
  params.labels = labels.data();
  params.offsets = offsets.data();
  params.ignore_boxes = data<const float>(ignore_boxes);
  params.ignore_offsets = data<const int64_t>(ignore_offsets);
  params.valid_sizes = data<const float>(valid_sizes);
  params.offsets_on_host = offsets_on_host;
  params.ignore_offsets_on_host = offsets_on_host && params.ignore_offsets != nullptr;
  params.num_images = offsets.size() - 1;
  params.num_boxes = boxes.shape(0);
  params.num_ignore_boxes = ignore_boxes.is_none() ? 0 : py::cast<py::array>(ignore_boxes).shape(0);
  params.offset = static_cast<float>(offset);
  set_levels(level_shapes, strides, params);
  params.matched = matched.mutable_data();
  params.matched_labels = matched_labels.mutable_data();
  params.ltrb = ltrb.mutable_data();
  params.iou = iou.mutable_data();
  params.score = score.mutable_data();
  params.num_pos = num_pos.mutable_data();
  params.pos_per_box = pos_per_box.mutable_data();
  const AtssRule rule{k,         static_cast<AtssMetric>(metric),   static_cast<float>(anchor_scale),
                      inclusive, static_cast<float>(inside_margin), all_boxes_compete};
  run(params, rule, schedule_named(schedule), seed);
}

}  // namespace atss_run
