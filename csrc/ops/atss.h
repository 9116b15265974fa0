// The assign_atss op, the same on every device.
// A Backend has `static void run(const TopKParams&, const AtssRule&, const CallArguments&)`.
#pragma once

#include "../core/atss.h"
#include "top_k.h"

namespace pseudo_iou_ops {

inline AtssRule make_atss_rule(int64_t k, int64_t metric, double anchor_scale, bool inclusive,
                               double inside_margin, bool all_boxes_compete) {
  STD_TORCH_CHECK(k >= 1 && k <= kMaxK, "k: expected a number in [1, ", kMaxK, "], got ", k);
  check_choice("metric", metric, static_cast<int>(AtssMetric::kCount) - 1);
  return {static_cast<int>(k), static_cast<AtssMetric>(metric),   static_cast<float>(anchor_scale),
          inclusive,           static_cast<float>(inside_margin), all_boxes_compete};
}

// Both assign_atss and assign_atss.out, which brings the tensors to write, with the arguments of library.cpp.
template <class Backend, class... Outputs>
auto run_assign_atss(const Tensor& boxes, const Tensor& labels, const Tensor& offsets,
                     const std::vector<int64_t>& level_shapes, const std::vector<double>& strides,
                     double offset, const std::optional<Tensor>& ignore_boxes,
                     const std::optional<Tensor>& ignore_offsets, const std::optional<Tensor>& valid_sizes,
                     int64_t k, int64_t metric, double anchor_scale, bool inclusive, double inside_margin,
                     bool all_boxes_compete, const Outputs&... outputs) {
  const AtssRule rule = make_atss_rule(k, metric, anchor_scale, inclusive, inside_margin, all_boxes_compete);
  const CallArguments a{boxes,  labels,       offsets,        level_shapes, strides,
                        offset, ignore_boxes, ignore_offsets, valid_sizes};
  return run_top_k(a, [&](const TopKParams& params) { Backend::run(params, rule, a); }, outputs...);
}

template <class Backend>
constexpr auto assign_atss = &run_assign_atss<Backend>;

template <class Backend>
constexpr auto assign_atss_out =
    &run_assign_atss<Backend, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

}  // namespace pseudo_iou_ops
