// The assign op, the same on every device: tensors in, checked; one plain struct out; tensors back.
// A Backend has `static void run(const AssignParams&, const AssignArguments&)`.
#pragma once

#include "allocate.h"
#include "assign_settings.h"
#include "ground_truths.h"

namespace pseudo_iou_ops {

// The arguments of the schema in library.cpp, in its order.
struct AssignArguments {
  const Tensor &boxes, &labels, &offsets;
  AssignSettings settings;
  const std::optional<Tensor>&ignore_boxes, &ignore_offsets, &valid_sizes;

  int64_t num_images() const { return offsets.numel() - 1; }
  int64_t num_boxes() const { return boxes.size(0); }
  int64_t num_points() const { return settings.num_points(); }
};

struct AssignOutputs {
  Tensor matched, labels, ltrb, pseudo_iou, centerness, num_pos, pos_per_box;
};

inline void check_arguments(const AssignArguments& a) {
  check_ground_truths(a);
  check_levels(a.settings.level_shapes, a.settings.strides, a.settings.regress_ranges);
  check_offset(a.settings.offset);
  check_choice("metric", a.settings.metric, static_cast<int>(Metric::kCount) - 1);
  check_choice("order", a.settings.order, static_cast<int>(Order::kFilterThenChoose));
  check_choice("resolve", a.settings.resolve, static_cast<int>(Resolve::kMaxMetric));
}

inline void check_outputs(const AssignArguments& a, const AssignOutputs& outputs) {
  const std::vector<int64_t> points{a.num_images(), a.num_points()};
  check_common_outputs(a, outputs);
  check_output("pseudo_iou", outputs.pseudo_iou, ScalarType::Float, points, a.boxes);
  check_output("centerness", outputs.centerness, ScalarType::Float, points, a.boxes);
  check_apart(outputs);
}

inline AssignParams make_params(const AssignArguments& a, const AssignOutputs& outputs) {
  AssignParams params;
  set_call(a, outputs, params);
  apply_settings(a.settings, params);
  params.pseudo_iou = outputs.pseudo_iou.mutable_data_ptr<float>();
  params.centerness = outputs.centerness.mutable_data_ptr<float>();
  return params;
}

template <class Backend>
auto run_into_new_tensors(const AssignArguments& a) {
  const int64_t images = a.num_images(), points = a.num_points();
  // The two counters are one tensor, so that one memset clears them; Python splits it.
  const Tensor counts = empty(a.boxes, {images + a.num_boxes()}, ScalarType::Long);
  const auto per_point = [&](ScalarType dtype) { return empty(a.boxes, {images, points}, dtype); };
  const Tensor ltrb = empty(a.boxes, {images, points, 4}, ScalarType::Float);
  const Tensor matched = per_point(ScalarType::Long), labels = per_point(ScalarType::Long);
  const Tensor pseudo_iou = per_point(ScalarType::Float), centerness = per_point(ScalarType::Float);
  AssignParams params = make_params(a, {matched, labels, ltrb, pseudo_iou, centerness, counts, counts});
  params.pos_per_box = params.num_pos + images;
  Backend::run(params, a);
  return std::make_tuple(matched, labels, ltrb, pseudo_iou, centerness, counts);
}

// Both assign and assign.out, which brings the tensors to write, with the arguments of library.cpp.
template <class Backend, class... Outputs>
auto run_assign(const Tensor& boxes, const Tensor& labels, const Tensor& offsets,
                const std::vector<int64_t>& level_shapes, const std::vector<double>& strides, double offset,
                int64_t metric, double threshold, std::optional<double> ignore_threshold, bool inclusive,
                int64_t order, int64_t resolve, const std::vector<double>& regress_ranges, bool open_ranges,
                bool normalize_by_stride, const std::optional<Tensor>& ignore_boxes,
                const std::optional<Tensor>& ignore_offsets, const std::optional<Tensor>& valid_sizes,
                const Outputs&... outputs) {
  const AssignSettings settings{level_shapes, strides,          offset,      metric,
                                threshold,    ignore_threshold, inclusive,   order,
                                resolve,      regress_ranges,   open_ranges, normalize_by_stride};
  const AssignArguments a{boxes, labels, offsets, settings, ignore_boxes, ignore_offsets, valid_sizes};
  check_arguments(a);
  if constexpr (sizeof...(outputs) == 0) {
    return run_into_new_tensors<Backend>(a);
  } else {
    const AssignOutputs given{outputs...};
    check_outputs(a, given);
    Backend::run(make_params(a, given), a);
  }
}

template <class Backend>
constexpr auto assign = &run_assign<Backend>;

template <class Backend>
constexpr auto assign_out = &run_assign<Backend, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

}  // namespace pseudo_iou_ops
