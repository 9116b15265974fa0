// The box loss of one point, the same on every device.
#pragma once

#include "../core/ltrb_loss_params.h"
#include "../core/reduced_precision.h"

namespace pseudo_iou_ops {

// Points without a class have the weight 0.
PIOU_HOST_DEVICE float point_weight(const LtrbLossParams& params, int64_t point) {
  if (params.labels != nullptr && params.labels[point] < 0) return 0.0f;
  return params.weights != nullptr ? params.weights[point] : 1.0f;
}

// Returns the loss of one point of a level and writes its gradient. A point of weight 0 is not read.
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
