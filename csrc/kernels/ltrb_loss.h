// The box loss of one point, the same on every device.
#pragma once

#include "../core/ltrb_loss.h"
#include "../core/reduced_precision.h"

namespace pseudo_iou_ops {

// Points without a class have the weight 0.
PIOU_HOST_DEVICE float point_weight(const LtrbLossParams& params, int64_t point) {
  if (params.labels != nullptr && params.labels[point] < 0) return 0.0f;
  return params.weights != nullptr ? params.weights[point] : 1.0f;
}

// The four distances of a point, side by side in memory and moved at once.
template <class T>
struct alignas(4 * sizeof(T)) Four {
  T values[4];
};

template <class T>
PIOU_HOST_DEVICE bool is_aligned_to_four(const HeadLevel& level) {
  const auto address =
      reinterpret_cast<uintptr_t>(level.values) | reinterpret_cast<uintptr_t>(level.gradients);
  return address % sizeof(Four<T>) == 0;
}

// Returns the loss of one point of a level and writes its gradient. A point of weight 0 is not read.
template <class T>
PIOU_HOST_DEVICE Compute<T> run_ltrb_point(const LtrbLossParams& params, const HeadLevel& level,
                                           int64_t image, int64_t level_point, Compute<T> scale) {
  using Real = Compute<T>;
  const int64_t point = image * params.head.num_points + level.first_point + level_point;
  const int64_t first = image * level.num_points * 4 + level_point * (level.channels_last ? 4 : 1);
  const int64_t step = level.channels_last ? 1 : level.num_points;
  const bool is_whole = level.channels_last && is_aligned_to_four<T>(level);
  const Real weight = static_cast<Real>(point_weight(params, point)) * scale;
  BoxTerm<Real> term{0, {0, 0, 0, 0}};
  if (weight != 0) {
    const T* source = static_cast<const T*>(level.values) + first;
    Four<T> own;
    if (is_whole) {
      own = *reinterpret_cast<const Four<T>*>(source);
    } else {
      own = {source[0], source[step], source[2 * step], source[3 * step]};
    }
    const float* target = params.targets + 4 * point;
    term = ltrb_term<Real>(
        params.kind, {widen(own.values[0]), widen(own.values[1]), widen(own.values[2]), widen(own.values[3])},
        {target[0], target[1], target[2], target[3]});
  }
  if (level.gradients != nullptr) {
    const Sides<Real>& slope = term.gradient;
    const Four<T> gradient{narrow<T>(weight * slope.l), narrow<T>(weight * slope.t),
                           narrow<T>(weight * slope.r), narrow<T>(weight * slope.b)};
    T* target = static_cast<T*>(level.gradients) + first;
    if (is_whole) {
      *reinterpret_cast<Four<T>*>(target) = gradient;
    } else {
      for (int side = 0; side < 4; ++side) target[side * step] = gradient.values[side];
    }
  }
  return weight * term.loss;
}

}  // namespace pseudo_iou_ops
