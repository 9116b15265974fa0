// The assign op, the same on every device: tensors in, checked; one plain struct out; tensors back.
// A Backend has `static void run(const AssignParams&, const AssignArguments&)`.
#pragma once

#include "../core/settings.h"
#include "checks.h"

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
  check_boxes("boxes", a.boxes);
  check_tensor("labels", a.labels, ScalarType::Long, 1);
  check_size("labels", a.labels, 0, a.num_boxes());
  check_device("labels", a.labels, a.boxes);
  STD_TORCH_CHECK(a.offsets.numel() > 0, "offsets: expected at least one entry, got none");
  check_offsets("offsets", a.offsets, a.num_images(), a.boxes);
  check_levels(a.settings.level_shapes, a.settings.strides, a.settings.regress_ranges);
  check_offset(a.settings.offset);
  check_choice("metric", a.settings.metric, static_cast<int>(Metric::kNone));
  check_choice("order", a.settings.order, static_cast<int>(Order::kFilterThenChoose));
  check_choice("resolve", a.settings.resolve, static_cast<int>(Resolve::kMaxMetric));
  STD_TORCH_CHECK(a.ignore_boxes.has_value() == a.ignore_offsets.has_value(),
                  "ignore_boxes, ignore_offsets: expected both or neither");
  if (a.ignore_boxes.has_value()) {
    check_boxes("ignore_boxes", *a.ignore_boxes);
    check_device("ignore_boxes", *a.ignore_boxes, a.boxes);
    check_offsets("ignore_offsets", *a.ignore_offsets, a.num_images(), a.boxes);
  }
  if (a.valid_sizes.has_value()) {
    check_tensor("valid_sizes", *a.valid_sizes, ScalarType::Float, 2);
    check_size("valid_sizes", *a.valid_sizes, 0, a.num_images());
    check_size("valid_sizes", *a.valid_sizes, 1, 2);
    check_device("valid_sizes", *a.valid_sizes, a.boxes);
  }
}

inline void check_outputs(const AssignArguments& a, const AssignOutputs& outputs) {
  const int64_t images = a.num_images(), points = a.num_points();
  check_output("matched", outputs.matched, ScalarType::Long, {images, points}, a.boxes);
  check_output("labels", outputs.labels, ScalarType::Long, {images, points}, a.boxes);
  check_output("ltrb", outputs.ltrb, ScalarType::Float, {images, points, 4}, a.boxes);
  check_output("pseudo_iou", outputs.pseudo_iou, ScalarType::Float, {images, points}, a.boxes);
  check_output("centerness", outputs.centerness, ScalarType::Float, {images, points}, a.boxes);
  check_output("num_pos", outputs.num_pos, ScalarType::Long, {images}, a.boxes);
  check_output("pos_per_box", outputs.pos_per_box, ScalarType::Long, {a.num_boxes()}, a.boxes);
}

inline AssignParams make_params(const AssignArguments& a, const AssignOutputs& outputs) {
  AssignParams params;
  params.boxes = a.boxes.const_data_ptr<float>();
  params.labels = a.labels.const_data_ptr<int64_t>();
  params.offsets = a.offsets.const_data_ptr<int64_t>();
  params.ignore_boxes = a.ignore_boxes ? a.ignore_boxes->const_data_ptr<float>() : nullptr;
  params.ignore_offsets = a.ignore_offsets ? a.ignore_offsets->const_data_ptr<int64_t>() : nullptr;
  params.valid_sizes = a.valid_sizes ? a.valid_sizes->const_data_ptr<float>() : nullptr;
  params.num_images = a.num_images();
  params.num_boxes = a.num_boxes();
  params.num_ignore_boxes = a.ignore_boxes ? a.ignore_boxes->size(0) : 0;
  apply_settings(a.settings, params);
  params.matched = outputs.matched.mutable_data_ptr<int64_t>();
  params.matched_labels = outputs.labels.mutable_data_ptr<int64_t>();
  params.ltrb = outputs.ltrb.mutable_data_ptr<float>();
  params.pseudo_iou = outputs.pseudo_iou.mutable_data_ptr<float>();
  params.centerness = outputs.centerness.mutable_data_ptr<float>();
  params.num_pos = outputs.num_pos.mutable_data_ptr<int64_t>();
  params.pos_per_box = outputs.pos_per_box.mutable_data_ptr<int64_t>();
  return params;
}

// A contiguous tensor on the device of `like`, of the sizes (and their strides). Straight from the allocator:
// through the dispatcher the outputs of a call cost more than a small assignment.
template <size_t kDims>
Tensor empty(const Tensor& like, const int64_t (&sizes)[kDims], ScalarType dtype) {
  int64_t strides[kDims];
  int64_t stride = 1;
  for (size_t dim = kDims; dim-- > 0;) {
    strides[dim] = stride;
    stride *= sizes[dim] > 0 ? sizes[dim] : 1;
  }
  int32_t device_type;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(like.get(), &device_type));
  const int32_t type = dtype == ScalarType::Long ? aoti_torch_dtype_int64() : aoti_torch_dtype_float32();
  AtenTensorHandle handle;
  TORCH_ERROR_CODE_CHECK(
      aoti_torch_empty_strided(kDims, sizes, strides, type, device_type, like.get_device_index(), &handle));
  return Tensor(handle);
}

using AssignResult = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

template <class Backend>
AssignResult assign(const Tensor& boxes, const Tensor& labels, const Tensor& offsets,
                    const std::vector<int64_t>& level_shapes, const std::vector<double>& strides,
                    double offset, int64_t metric, double threshold, std::optional<double> ignore_threshold,
                    bool inclusive, int64_t order, int64_t resolve, const std::vector<double>& regress_ranges,
                    bool open_ranges, bool normalize_by_stride, const std::optional<Tensor>& ignore_boxes,
                    const std::optional<Tensor>& ignore_offsets, const std::optional<Tensor>& valid_sizes) {
  const AssignArguments a{boxes,
                          labels,
                          offsets,
                          {level_shapes, strides, offset, metric, threshold, ignore_threshold, inclusive,
                           order, resolve, regress_ranges, open_ranges, normalize_by_stride},
                          ignore_boxes,
                          ignore_offsets,
                          valid_sizes};
  check_arguments(a);
  const int64_t images = a.num_images(), points = a.num_points();
  // The two counters are one tensor, so that one memset clears them; Python splits it.
  const Tensor counts = empty(boxes, {images + a.num_boxes()}, ScalarType::Long);
  const AssignOutputs outputs{empty(boxes, {images, points}, ScalarType::Long),
                              empty(boxes, {images, points}, ScalarType::Long),
                              empty(boxes, {images, points, 4}, ScalarType::Float),
                              empty(boxes, {images, points}, ScalarType::Float),
                              empty(boxes, {images, points}, ScalarType::Float),
                              counts,
                              counts};
  AssignParams params = make_params(a, outputs);
  params.pos_per_box = params.num_pos + images;
  Backend::run(params, a);
  return {outputs.matched, outputs.labels, outputs.ltrb, outputs.pseudo_iou, outputs.centerness, counts};
}

template <class Backend>
void assign_out(const Tensor& boxes, const Tensor& labels, const Tensor& offsets,
                const std::vector<int64_t>& level_shapes, const std::vector<double>& strides, double offset,
                int64_t metric, double threshold, std::optional<double> ignore_threshold, bool inclusive,
                int64_t order, int64_t resolve, const std::vector<double>& regress_ranges, bool open_ranges,
                bool normalize_by_stride, const std::optional<Tensor>& ignore_boxes,
                const std::optional<Tensor>& ignore_offsets, const std::optional<Tensor>& valid_sizes,
                const Tensor& matched, const Tensor& matched_labels, const Tensor& ltrb,
                const Tensor& pseudo_iou, const Tensor& centerness, const Tensor& num_pos,
                const Tensor& pos_per_box) {
  const AssignArguments a{boxes,
                          labels,
                          offsets,
                          {level_shapes, strides, offset, metric, threshold, ignore_threshold, inclusive,
                           order, resolve, regress_ranges, open_ranges, normalize_by_stride},
                          ignore_boxes,
                          ignore_offsets,
                          valid_sizes};
  const AssignOutputs outputs{matched, matched_labels, ltrb, pseudo_iou, centerness, num_pos, pos_per_box};
  check_arguments(a);
  check_outputs(a, outputs);
  Backend::run(make_params(a, outputs), a);
}

}  // namespace pseudo_iou_ops
