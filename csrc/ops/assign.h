// The assign op, the same on every device: tensors in, checked; one plain struct out; tensors back.
// A Backend has `static void run(const AssignParams&, const CallArguments&)`.
#pragma once

#include "call.h"

namespace pseudo_iou_ops {

// Both assign and assign.out, which brings the tensors to write, with the arguments of library.cpp.
template <class Backend, class... Outputs>
auto run_assign(const Tensor& boxes, const Tensor& labels, const Tensor& offsets,
                const std::vector<int64_t>& level_shapes, const std::vector<double>& strides, double offset,
                int64_t metric, double threshold, std::optional<double> ignore_threshold, bool inclusive,
                int64_t order, int64_t resolve, const std::vector<double>& regress_ranges, bool open_ranges,
                bool normalize_by_stride, const std::optional<Tensor>& ignore_boxes,
                const std::optional<Tensor>& ignore_offsets, const std::optional<Tensor>& valid_sizes,
                const Outputs&... given) {
  const CallArguments a{boxes,  labels,       offsets,        level_shapes, strides,
                        offset, ignore_boxes, ignore_offsets, valid_sizes};
  check_call(a);
  check_ranges(regress_ranges, strides);
  check_choice("metric", metric, static_cast<int>(Metric::kCount) - 1);
  check_choice("order", order, static_cast<int>(Order::kFilterThenChoose));
  check_choice("resolve", resolve, static_cast<int>(Resolve::kMaxMetric));
  const auto make_params = [&](const CallOutputs& outputs) {
    AssignParams params;
    set_call(a, outputs, params);
    set_ranges(regress_ranges, open_ranges, params);
    params.rule =
        make_rule(metric, threshold, ignore_threshold, inclusive, order, resolve, normalize_by_stride);
    params.pseudo_iou = outputs.first_score.mutable_data_ptr<float>();
    params.centerness = outputs.second_score.mutable_data_ptr<float>();
    return params;
  };
  if constexpr (sizeof...(given) == 0) {
    // The two counters are one tensor, so that one memset clears them; Python splits it.
    const Tensor counts = empty(boxes, {a.num_images() + a.num_boxes()}, ScalarType::Long);
    const CallOutputs made = allocate_outputs(a, counts, counts);
    AssignParams params = make_params(made);
    params.pos_per_box = params.num_pos + params.num_images;
    Backend::run(params, a);
    return std::make_tuple(made.matched, made.labels, made.ltrb, made.first_score, made.second_score, counts);
  } else {
    const CallOutputs outputs{given...};
    check_outputs(a, outputs, "pseudo_iou", "centerness");
    Backend::run(make_params(outputs), a);
  }
}

template <class Backend>
constexpr auto assign = &run_assign<Backend>;

template <class Backend>
constexpr auto assign_out = &run_assign<Backend, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

}  // namespace pseudo_iou_ops
