// The class_loss op, the same on every device: tensors in, checked; one plain struct out; tensors back.
// A Backend has `static void run(const ClassLossParams&, ScalarType, const Tensor& loss)`.
#pragma once

#include "../core/class_loss.h"
#include "dispatch.h"
#include "head.h"

namespace pseudo_iou_ops {

using LossAndGradients = std::tuple<Tensor, std::vector<Tensor>>;

template <class Backend>
LossAndGradients class_loss(const std::vector<Tensor>& logits, const Tensor& labels,
                            const std::optional<Tensor>& targets, const std::optional<Tensor>& normalizer,
                            double negative_weight, double matched_weight, double exponent,
                            bool class_agnostic, bool with_gradients) {
  ClassLossParams params{};
  params.head = describe_head("logits", logits);
  check_per_point("labels", labels, ScalarType::Long, params.head, logits[0]);
  if (targets.has_value()) check_per_point("targets", *targets, ScalarType::Float, params.head, logits[0]);
  check_normalizer(normalizer, logits[0]);
  STD_TORCH_CHECK(exponent >= 0, "exponent: expected a number of 0 or more, got ", exponent);
  params.labels = labels.const_data_ptr<int64_t>();
  params.targets = data_or_null<float>(targets);
  params.normalizer = data_or_null<float>(normalizer);
  params.negative_weight = negative_weight;
  params.matched_weight = matched_weight;
  params.exponent = exponent;
  params.class_agnostic = class_agnostic;
  std::vector<Tensor> gradients;
  if (with_gradients) gradients = allocate_gradients(logits, params.head);
  const Tensor loss = empty_loss(logits[0]);
  Backend::run(params, logits[0].scalar_type(), loss);
  return {loss, gradients};
}

}  // namespace pseudo_iou_ops
