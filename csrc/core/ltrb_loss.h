// IoU losses of two boxes around one point, each given by the distances from the point to its sides.
//   IoU:  -log(IoU)  (UnitBox, Yu et al. 2016)
//   GIoU: 1 - GIoU   (Rezatofighi et al. 2019)
#pragma once

#include <cmath>

#include "head.h"

namespace pseudo_iou_ops {

enum class LtrbLoss : int { kIou, kGiou };  // in the order of KINDS of pseudo_iou_ops/ltrb_iou.py

template <class Real>
struct Sides {
  Real l, t, r, b;
};

template <class Real>
struct BoxTerm {
  Real loss;
  Sides<Real> gradient;  // in the predicted distances
};

// How much of a change in a min(a, b) follows: half of it where they are equal, as in torch.
template <class Real>
PIOU_HOST_DEVICE Real minimum_share(Real a, Real b) {
  return a < b ? Real(1) : (a == b ? Real(0.5) : Real(0));
}

// Finite for all distances of 0 or more whose areas Real can hold. An IoU below 1e-6 counts as 1e-6, in the
// value and in what the gradient divides by; two boxes that both have no area give neither loss nor gradient.
template <class Real>
PIOU_HOST_DEVICE BoxTerm<Real> ltrb_term(LtrbLoss kind, const Sides<Real>& p, const Sides<Real>& q) {
  constexpr Real kSmallestIou = Real(1e-6), kSmallestArea = Real(1e-30);
  const Sides<Real> share{minimum_share(p.l, q.l), minimum_share(p.t, q.t), minimum_share(p.r, q.r),
                          minimum_share(p.b, q.b)};
  const auto smaller = [](Real a, Real b) { return a < b ? a : b; };
  const auto larger = [](Real a, Real b) { return a < b ? b : a; };
  const Real width = p.l + p.r, height = p.t + p.b;
  const Real inner_width = smaller(p.l, q.l) + smaller(p.r, q.r);
  const Real inner_height = smaller(p.t, q.t) + smaller(p.b, q.b);
  const Real hull_width = larger(p.l, q.l) + larger(p.r, q.r);
  const Real hull_height = larger(p.t, q.t) + larger(p.b, q.b);
  const Real intersection = inner_width * inner_height;
  const Real united = width * height + (q.l + q.r) * (q.t + q.b) - intersection;
  const Real hull = hull_width * hull_height;
  if (!(united > kSmallestArea)) return {united == united ? Real(0) : united, {0, 0, 0, 0}};

  // The loss changes by these with the three areas.
  Real loss, by_intersection, by_union, by_hull = 0;
  if (kind == LtrbLoss::kIou) {
    const Real met = larger(intersection, kSmallestIou * united);
    loss = -std::log(met / united);
    by_intersection = -1 / met;
    by_union = 1 / united;
  } else {
    const Real iou = intersection / united;
    loss = 1 - iou + (hull - united) / hull;
    by_intersection = -1 / united;
    by_union = iou / united - 1 / hull;
    by_hull = united / hull / hull;
  }
  const Real by_inner = by_intersection - by_union;  // the intersection is also a part of the union
  const auto gradient = [&](Real own_share, Real inner_side, Real own_side, Real hull_side) {
    return by_inner * (own_share * inner_side) + by_union * own_side +
           by_hull * ((1 - own_share) * hull_side);
  };
  return {loss,
          {gradient(share.l, inner_height, height, hull_height),
           gradient(share.t, inner_width, width, hull_width),
           gradient(share.r, inner_height, height, hull_height),
           gradient(share.b, inner_width, width, hull_width)}};
}

// Everything one call of the box losses hands to a kernel: plain numbers and pointers.
struct LtrbLossParams {
  Head head;                // of distances, four channels
  const float* targets;     // (images, points, 4)
  const int64_t* labels;    // (images, points) or null: all points count
  const float* weights;     // (images, points) or null: 1
  const float* normalizer;  // or null: 1
  LtrbLoss kind;
};

}  // namespace pseudo_iou_ops
