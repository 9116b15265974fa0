// The ltrb_loss op, the same on every device: tensors in, checked; one plain struct out; tensors back.
// A Backend has `static void run(const LtrbLossParams&, ScalarType, const Tensor& loss)`.
#pragma once

#include "../core/ltrb_loss.h"
#include "dispatch.h"
#include "head.h"

namespace pseudo_iou_ops {

template <class Backend>
std::tuple<Tensor, std::vector<Tensor>> ltrb_loss(const std::vector<Tensor>& predictions,
                                                  const Tensor& targets, const std::optional<Tensor>& labels,
                                                  const std::optional<Tensor>& weights,
                                                  const std::optional<Tensor>& normalizer, int64_t kind,
                                                  bool with_gradients) {
  LtrbLossParams params{};
  params.head = describe_head("predictions", predictions);
  const Tensor& first = predictions[0];
  STD_TORCH_CHECK(params.head.num_channels == 4, "predictions: expected 4 distances, got ",
                  params.head.num_channels);
  check_per_point("targets", targets, ScalarType::Float, params.head, first, 4);
  if (labels.has_value()) check_per_point("labels", *labels, ScalarType::Long, params.head, first);
  if (weights.has_value()) check_per_point("weights", *weights, ScalarType::Float, params.head, first);
  check_normalizer(normalizer, first);
  check_choice("kind", kind, static_cast<int>(LtrbLoss::kGiou));
  params.targets = targets.const_data_ptr<float>();
  params.labels = data_or_null<int64_t>(labels);
  params.weights = data_or_null<float>(weights);
  params.normalizer = data_or_null<float>(normalizer);
  params.kind = static_cast<LtrbLoss>(kind);
  std::vector<Tensor> gradients;
  if (with_gradients) gradients = allocate_gradients(predictions, params.head);
  const Tensor loss = empty_loss(first);
  Backend::run(params, first.scalar_type(), loss);
  return {loss, gradients};
}

}  // namespace pseudo_iou_ops
