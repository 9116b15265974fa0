// What the ops where boxes choose points share on every device: tensors in, checked; one plain struct out;
// tensors back.
#pragma once

#include "../core/top_k_params.h"
#include "allocate.h"
#include "ground_truths.h"
#include "levels.h"

namespace pseudo_iou_ops {

// In the order of the schemas in library.cpp.
struct TopKArguments {
  const Tensor &boxes, &labels, &offsets;
  const std::vector<int64_t>& level_shapes;  // H0, W0, H1, W1, ...
  const std::vector<double>& strides;
  double offset;
  const std::optional<Tensor>&ignore_boxes, &ignore_offsets, &valid_sizes;

  int64_t num_images() const { return offsets.numel() - 1; }
  int64_t num_boxes() const { return boxes.size(0); }
  int64_t num_points() const { return count_points(level_shapes); }
};

struct TopKOutputs {
  Tensor matched, labels, ltrb, iou, score, num_pos, pos_per_box;
};

inline void check_arguments(const TopKArguments& a) {
  check_ground_truths(a);
  check_levels(a.level_shapes, a.strides, {});
  check_offset(a.offset);
}

inline void check_outputs(const TopKArguments& a, const TopKOutputs& outputs) {
  const std::vector<int64_t> points{a.num_images(), a.num_points()};
  check_common_outputs(a, outputs);
  check_output("iou", outputs.iou, ScalarType::Float, points, a.boxes);
  check_output("score", outputs.score, ScalarType::Float, points, a.boxes);
  check_apart(outputs);
}

inline TopKParams make_params(const TopKArguments& a, const TopKOutputs& outputs) {
  TopKParams params{};
  set_call(a, outputs, params);
  params.offset = static_cast<float>(a.offset);
  set_levels(a.level_shapes, a.strides, params);
  params.iou = outputs.iou.mutable_data_ptr<float>();
  params.score = outputs.score.mutable_data_ptr<float>();
  return params;
}

inline TopKOutputs allocate_outputs(const TopKArguments& a) {
  const int64_t images = a.num_images(), points = a.num_points();
  const auto per_point = [&](ScalarType dtype) { return empty(a.boxes, {images, points}, dtype); };
  return {per_point(ScalarType::Long),
          per_point(ScalarType::Long),
          empty(a.boxes, {images, points, 4}, ScalarType::Float),
          per_point(ScalarType::Float),
          per_point(ScalarType::Float),
          empty(a.boxes, {images}, ScalarType::Long),
          empty(a.boxes, {a.num_boxes()}, ScalarType::Long)};
}

// Calls run(params) on new outputs, which it returns, or on given ones, then checked.
template <class Run, class... Outputs>
auto run_top_k(const TopKArguments& a, const Run& run, const Outputs&... given) {
  check_arguments(a);
  if constexpr (sizeof...(given) == 0) {
    const TopKOutputs made = allocate_outputs(a);
    run(make_params(a, made));
    return std::make_tuple(made.matched, made.labels, made.ltrb, made.iou, made.score, made.num_pos,
                           made.pos_per_box);
  } else {
    const TopKOutputs outputs{given...};
    check_outputs(a, outputs);
    run(make_params(a, outputs));
  }
}

}  // namespace pseudo_iou_ops
