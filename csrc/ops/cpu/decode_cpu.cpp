#include "../../kernels/decode_cpu.h"

#include "../dispatch.h"
#include "../head.h"
#include "parallel.h"

namespace pseudo_iou_ops {
namespace {

using DecodeResult = std::tuple<Tensor, Tensor, Tensor, Tensor>;

void check_same_levels(const char* name, const Head& head, const Head& logits) {
  STD_TORCH_CHECK(head.num_levels == logits.num_levels && head.num_images == logits.num_images, name,
                  ": expected the levels and images of the logits");
  for (int level = 0; level < head.num_levels; ++level) {
    STD_TORCH_CHECK(head.levels[level].num_points == logits.levels[level].num_points, name,
                    ": expected the points of the logits");
  }
}

DecodeResult decode_topk(const std::vector<Tensor>& logits, const std::vector<Tensor>& ltrb,
                         const std::vector<Tensor>& centerness, const Tensor& points, double score_threshold,
                         int64_t k) {
  DecodeParams params{};
  params.logits = describe_head("logits", logits);
  params.ltrb = describe_head("ltrb", ltrb);
  STD_TORCH_CHECK(params.ltrb.num_channels == 4, "ltrb: expected 4 distances");
  STD_TORCH_CHECK(ltrb[0].scalar_type() == ScalarType::Float, "ltrb: expected dtype float32");
  check_same_levels("ltrb", params.ltrb, params.logits);
  if (!centerness.empty()) {
    params.centerness = describe_head("centerness", centerness);
    STD_TORCH_CHECK(params.centerness.num_channels == 1, "centerness: expected 1 channel");
    STD_TORCH_CHECK(centerness[0].scalar_type() == logits[0].scalar_type(),
                    "centerness: expected the logits' dtype");
    check_same_levels("centerness", params.centerness, params.logits);
  }
  check_tensor("points", points, ScalarType::Float, 2);
  check_size("points", points, 0, params.logits.num_points);
  check_size("points", points, 1, 2);
  STD_TORCH_CHECK(k >= 1 && k <= kMaxSide, "k: expected a number in [1, 2^31), got ", k);
  params.points = points.const_data_ptr<float>();
  params.score_threshold = static_cast<float>(score_threshold);
  params.k = k;
  const int64_t images = params.logits.num_images, levels = params.logits.num_levels;
  const Tensor boxes = empty(points, {images, levels * k, 4}, ScalarType::Float);
  const Tensor scores = empty(points, {images, levels * k}, ScalarType::Float);
  const Tensor labels = empty(points, {images, levels * k}, ScalarType::Long);
  const Tensor counts = empty(points, {images, levels}, ScalarType::Long);
  params.boxes = boxes.mutable_data_ptr<float>();
  params.scores = scores.mutable_data_ptr<float>();
  params.labels = labels.mutable_data_ptr<int64_t>();
  params.counts = counts.mutable_data_ptr<int64_t>();
  dispatch_floating("logits", logits[0].scalar_type(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    run_tasks_in_parallel(
        images * levels, [&] { return DecodeWorker<T>(params); },
        [](DecodeWorker<T>& worker, int64_t task) { worker.run(task); });
  });
  return {boxes, scores, labels, counts};
}

STABLE_TORCH_LIBRARY_IMPL(pseudo_iou_ops, CPU, m) { m.impl("decode_topk", TORCH_BOX(&decode_topk)); }

}  // namespace
}  // namespace pseudo_iou_ops
