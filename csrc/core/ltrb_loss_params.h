// Everything one call of the box losses hands to a kernel: plain numbers and pointers.
#pragma once

#include "head.h"
#include "ltrb_loss.h"
#include "reduced_precision.h"

namespace pseudo_iou_ops {

struct LtrbLossParams {
  Head head;                // of distances, four channels
  const float* targets;     // (images, points, 4)
  const int64_t* labels;    // (images, points) or null: all points count
  const float* weights;     // (images, points) or null: 1
  const float* normalizer;  // or null: 1
  LtrbLoss kind;
};

// Points without a class count 0.
PIOU_HOST_DEVICE float point_weight(const LtrbLossParams& params, int64_t point) {
  if (params.labels != nullptr && params.labels[point] < 0) return 0.0f;
  return params.weights != nullptr ? params.weights[point] : 1.0f;
}

// Of one point of a level: its loss, and its gradient written. What a weight of 0 hides is not looked at.
template <class T>
PIOU_HOST_DEVICE Compute<T> run_ltrb_point(const LtrbLossParams& params, const HeadLevel& level,
                                           int64_t image, int64_t level_point, float scale) {
  using Real = Compute<T>;
  const int64_t point = image * params.head.num_points + level.first_point + level_point;
  const int64_t first = image * level.num_points * 4 + level_point * (level.channels_last ? 4 : 1);
  const int64_t step = level.channels_last ? 1 : level.num_points;
  const Real weight = static_cast<Real>(point_weight(params, point)) * scale;
  BoxTerm<Real> term{0, {0, 0, 0, 0}};
  if (weight != 0) {
    const T* own = static_cast<const T*>(level.values) + first;
    const float* target = params.targets + 4 * point;
    term = ltrb_term<Real>(params.kind,
                           {widen(own[0]), widen(own[step]), widen(own[2 * step]), widen(own[3 * step])},
                           {target[0], target[1], target[2], target[3]});
  }
  if (level.gradients != nullptr) {
    T* gradient = static_cast<T*>(level.gradients) + first;
    gradient[0] = narrow<T>(weight * term.gradient.l);
    gradient[step] = narrow<T>(weight * term.gradient.t);
    gradient[2 * step] = narrow<T>(weight * term.gradient.r);
    gradient[3 * step] = narrow<T>(weight * term.gradient.b);
  }
  return weight * term.loss;
}

}  // namespace pseudo_iou_ops
