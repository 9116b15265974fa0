// What every assignment takes and makes: tensors and numbers, checked, and handed to a kernel.
#pragma once

#include "allocate.h"
#include "checks.h"
#include "settings.h"

namespace pseudo_iou_ops {

// In the order of the schemas in library.cpp, short of what a rule adds.
struct CallArguments {
  const Tensor &boxes, &labels, &offsets;
  const std::vector<int64_t>& level_shapes;  // H0, W0, H1, W1, ...
  const std::vector<double>& strides;
  double offset;
  const std::optional<Tensor>&ignore_boxes, &ignore_offsets, &valid_sizes;

  int64_t num_images() const { return offsets.numel() - 1; }
  int64_t num_boxes() const { return boxes.size(0); }
  int64_t num_points() const { return count_points(level_shapes); }
};

// The two scores of a point have names of their own in each family.
struct CallOutputs {
  Tensor matched, labels, ltrb, first_score, second_score, num_pos, pos_per_box;
};

inline void check_ground_truths(const CallArguments& a) {
  check_boxes("boxes", a.boxes);
  check_tensor("labels", a.labels, ScalarType::Long, 1);
  check_size("labels", a.labels, 0, a.num_boxes());
  check_device("labels", a.labels, a.boxes);
  STD_TORCH_CHECK(a.offsets.numel() > 0, "offsets: expected at least one entry, got none");
  check_offsets("offsets", a.offsets, a.num_images(), a.boxes);
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

inline void check_call(const CallArguments& a) {
  check_ground_truths(a);
  check_levels(a.level_shapes, a.strides);
  check_offset(a.offset);
}

// Until a call ends its outputs hold what it has to remember: with two in one place it would follow the
// other's.
inline void check_apart(const CallOutputs& outputs) {
  const auto& [matched, labels, ltrb, first, second, num_pos, pos_per_box] = outputs;
  struct Bytes {
    const char *begin, *end;
  };
  std::vector<Bytes> seen;
  for (const Tensor* output : {&matched, &labels, &ltrb, &first, &second, &num_pos, &pos_per_box}) {
    if (output->numel() == 0) continue;
    const char* const begin = static_cast<const char*>(output->mutable_data_ptr());
    const int64_t width = output->scalar_type() == ScalarType::Long ? sizeof(int64_t) : sizeof(float);
    const Bytes bytes{begin, begin + output->numel() * width};
    for (const Bytes& other : seen) {
      STD_TORCH_CHECK(bytes.end <= other.begin || other.end <= bytes.begin,
                      "out: expected fields that share no memory");
    }
    seen.push_back(bytes);
  }
}

inline void check_outputs(const CallArguments& a, const CallOutputs& outputs, const char* first_score,
                          const char* second_score) {
  const int64_t images = a.num_images(), points = a.num_points();
  check_output("matched", outputs.matched, ScalarType::Long, {images, points}, a.boxes);
  check_output("labels", outputs.labels, ScalarType::Long, {images, points}, a.boxes);
  check_output("ltrb", outputs.ltrb, ScalarType::Float, {images, points, 4}, a.boxes);
  check_output("num_pos", outputs.num_pos, ScalarType::Long, {images}, a.boxes);
  check_output("pos_per_box", outputs.pos_per_box, ScalarType::Long, {a.num_boxes()}, a.boxes);
  check_output(first_score, outputs.first_score, ScalarType::Float, {images, points}, a.boxes);
  check_output(second_score, outputs.second_score, ScalarType::Float, {images, points}, a.boxes);
  check_apart(outputs);
}

inline CallOutputs allocate_outputs(const CallArguments& a, const Tensor& num_pos,
                                    const Tensor& pos_per_box) {
  const int64_t images = a.num_images(), points = a.num_points();
  const auto per_point = [&](ScalarType dtype) { return empty(a.boxes, {images, points}, dtype); };
  return {per_point(ScalarType::Long),
          per_point(ScalarType::Long),
          empty(a.boxes, {images, points, 4}, ScalarType::Float),
          per_point(ScalarType::Float),
          per_point(ScalarType::Float),
          num_pos,
          pos_per_box};
}

inline bool is_on_host(const Tensor& tensor) { return tensor.device().type() == DeviceType::CPU; }

// Sets what every assignment has, short of the ranges of the levels.
inline void set_call(const CallArguments& a, const CallOutputs& outputs, CallParams& params) {
  params.boxes = a.boxes.const_data_ptr<float>();
  params.labels = a.labels.const_data_ptr<int64_t>();
  params.offsets = a.offsets.const_data_ptr<int64_t>();
  params.ignore_boxes = data_or_null<float>(a.ignore_boxes);
  params.ignore_offsets = data_or_null<int64_t>(a.ignore_offsets);
  params.valid_sizes = data_or_null<float>(a.valid_sizes);
  params.offsets_on_host = is_on_host(a.offsets);
  params.ignore_offsets_on_host = a.ignore_offsets.has_value() && is_on_host(*a.ignore_offsets);
  params.num_images = a.num_images();
  params.num_boxes = a.num_boxes();
  params.num_ignore_boxes = a.ignore_boxes ? a.ignore_boxes->size(0) : 0;
  set_levels(a.level_shapes, a.strides, a.offset, params);
  params.matched = outputs.matched.mutable_data_ptr<int64_t>();
  params.matched_labels = outputs.labels.mutable_data_ptr<int64_t>();
  params.ltrb = outputs.ltrb.mutable_data_ptr<float>();
  params.num_pos = outputs.num_pos.mutable_data_ptr<int64_t>();
  params.pos_per_box = outputs.pos_per_box.mutable_data_ptr<int64_t>();
}

}  // namespace pseudo_iou_ops
