// The decode_topk op, the same on every device: tensors in, checked; one plain struct out; tensors back.
// A Backend has `static void run(const DecodeParams&, ScalarType, const Tensor& counts)`.
#pragma once

#include "../core/decode.h"
#include "dispatch.h"
#include "head.h"

namespace pseudo_iou_ops {

using DecodeResult = std::tuple<Tensor, Tensor, Tensor, Tensor>;

inline Head describe_beside(const char* name, const std::vector<Tensor>& levels, int64_t channels,
                            ScalarType dtype, const Head& logits, const Tensor& logit) {
  const Head head = describe_head(name, levels);
  STD_TORCH_CHECK(head.num_channels == channels, name, ": expected ", channels, " channels, got ",
                  head.num_channels);
  STD_TORCH_CHECK(levels[0].scalar_type() == dtype, name, ": expected dtype ",
                  torch::headeronly::toString(dtype), ", got ",
                  torch::headeronly::toString(levels[0].scalar_type()));
  check_device(name, levels[0], logit);
  STD_TORCH_CHECK(head.num_levels == logits.num_levels && head.num_images == logits.num_images, name,
                  ": expected the levels and images of the logits");
  for (int level = 0; level < head.num_levels; ++level) {
    STD_TORCH_CHECK(head.levels[level].num_points == logits.levels[level].num_points, name,
                    ": expected the points of the logits");
  }
  return head;
}

inline DecodeParams describe_decode(const std::vector<Tensor>& logits, const std::vector<Tensor>& ltrb,
                                    const std::vector<Tensor>& centerness, const Tensor& points,
                                    double score_threshold, int64_t k) {
  DecodeParams params{};
  params.logits = describe_head("logits", logits);
  params.ltrb = describe_beside("ltrb", ltrb, 4, ScalarType::Float, params.logits, logits[0]);
  if (!centerness.empty()) {
    params.centerness =
        describe_beside("centerness", centerness, 1, logits[0].scalar_type(), params.logits, logits[0]);
  }
  for (int level = 0; level < params.logits.num_levels; ++level) {
    STD_TORCH_CHECK(params.level_size(level) < kMaxPlaces,
                    "logits: expected fewer than 2^32 - 1 an image and level, got ",
                    params.level_size(level));
  }
  check_tensor("points", points, ScalarType::Float, 2);
  check_size("points", points, 0, params.logits.num_points);
  check_size("points", points, 1, 2);
  check_device("points", points, logits[0]);
  STD_TORCH_CHECK(k >= 1 && k <= kMaxSide, "k: expected a number in [1, 2^31), got ", k);
  params.points = points.const_data_ptr<float>();
  params.score_threshold = static_cast<float>(score_threshold);
  params.logit_bound = logit_bound(params.score_threshold);
  params.k = k;
  return params;
}

template <class Backend>
DecodeResult decode_topk(const std::vector<Tensor>& logits, const std::vector<Tensor>& ltrb,
                         const std::vector<Tensor>& centerness, const Tensor& points, double score_threshold,
                         int64_t k) {
  DecodeParams params = describe_decode(logits, ltrb, centerness, points, score_threshold, k);
  const int64_t images = params.logits.num_images, levels = params.logits.num_levels;
  const Tensor boxes = empty(points, {images, levels * k, 4}, ScalarType::Float);
  const Tensor scores = empty(points, {images, levels * k}, ScalarType::Float);
  const Tensor labels = empty(points, {images, levels * k}, ScalarType::Long);
  const Tensor counts = empty(points, {images, levels}, ScalarType::Long);
  params.boxes = boxes.mutable_data_ptr<float>();
  params.scores = scores.mutable_data_ptr<float>();
  params.labels = labels.mutable_data_ptr<int64_t>();
  params.counts = counts.mutable_data_ptr<int64_t>();
  if (images > 0) Backend::run(params, logits[0].scalar_type(), counts);
  return {boxes, scores, labels, counts};
}

}  // namespace pseudo_iou_ops
