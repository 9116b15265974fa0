// The losses of one logit. All are |target - sigmoid|^exponent times the binary cross entropy:
//   focal loss (Lin et al. 2017, equation 5):          targets 0 and 1
//   quality focal loss (Li et al. 2020, equation 3):    a soft target at the matched class, 0 elsewhere
//   binary cross entropy:                               exponent 0
#pragma once

#include "elementary.h"
#include "head.h"

namespace pseudo_iou_ops {

template <class Real>
struct LossTerm {
  Real loss, gradient;
};

// Handles a logit whose target is 0, as nearly every one, without branches. kIsSquare: the exponent is 2.
template <bool kIsSquare, class Real>
PIOU_HOST_DEVICE LossTerm<Real> negative_term(Real x, Real exponent, Real weight) {
  const Sigmoid<Real> p = sigmoid(x);
  const Real softplus = (x > 0 ? x : 0) + p.log_part;  // -log(1 - p)
  const Real log_p = (x < 0 ? x : 0) - p.log_part;
  const Real power = weight * (kIsSquare ? p.value * p.value : exp_nonpositive(exponent * log_p));
  const Real slope = (kIsSquare ? p.complement + p.complement : exponent * p.complement);
  return {power * softplus, power * multiply_add(slope, softplus, p.value)};
}

// Handles a logit with any target in [0, 1].
template <class Real>
PIOU_HOST_DEVICE LossTerm<Real> matched_term(Real x, Real target, Real exponent) {
  const Sigmoid<Real> p = sigmoid(x);
  const Real cross_entropy = (x > 0 ? x : 0) - x * target + p.log_part;
  // target - p; where p is near 1 by way of its complement, which keeps the digits.
  const Real error = x < 0 ? target - p.value : (target - 1) + p.complement;
  if (error == 0) return {exponent == 0 ? cross_entropy : Real(0), Real(0)};
  const Real distance = error < 0 ? -error : error;
  const Real power = exponent == 0 ? Real(1) : exp_nonpositive(exponent * std::log(distance));
  return {power * cross_entropy,
          -power * (exponent * (p.value * (p.complement / error)) * cross_entropy + error)};
}

// Everything one call of the classification losses hands to a kernel: plain numbers and pointers.
struct ClassLossParams {
  Head head;                // of logits, a channel a class
  const int64_t* labels;    // (images, points)
  const float* targets;     // (images, points), at the matched class; or null: 1
  const float* normalizer;  // or null: 1
  double negative_weight, matched_weight, exponent;
  bool class_agnostic;  // every class counts as class 0
};

// What a label asks of the logits of its point.
struct PointLabel {
  int64_t match;  // the matched class, or -1
  bool is_ignored;
};

// -1 and classes past the last are background, as -1 here and C elsewhere stand for it; below -1 is ignored.
PIOU_HOST_DEVICE PointLabel point_label(const ClassLossParams& params, int64_t label) {
  if (label >= 0 && params.class_agnostic) label = 0;
  return {label >= 0 && label < params.head.num_channels ? label : -1, label < -1};
}

PIOU_HOST_DEVICE float target_at(const ClassLossParams& params, int64_t point) {
  return params.targets != nullptr ? params.targets[point] : 1.0f;
}

}  // namespace pseudo_iou_ops
