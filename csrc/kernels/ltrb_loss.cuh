// The box losses on a GPU, one launch for all levels and images: a thread a point.
#pragma once

#include "ltrb_loss.h"
#include "reduce.cuh"

namespace pseudo_iou_ops {

inline int64_t ltrb_loss_blocks(const LtrbLossParams& params) {
  return divide_up(params.head.num_images * params.head.num_points, kSumThreads);
}

template <class T>
PIOU_KERNEL void PIOU_LAUNCH_BOUNDS(kSumThreads, 4)
    ltrb_loss_kernel(const PIOU_GRID_CONSTANT LtrbLossParams params, Compute<T>* parts) {
  using Real = Compute<T>;
  PIOU_SHARED_ARRAY(Real, sums, kSumWarps);
  const Head& head = params.head;
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kSumThreads + threadIdx.x;
  Real loss = 0;
  if (index < head.num_images * head.num_points) {
    const int64_t image = index / head.num_points, point = index - image * head.num_points;
    int level = 0;
    while (level + 1 < head.num_levels && point >= head.levels[level + 1].first_point) ++level;
    loss = run_ltrb_point<T>(params, head.levels[level], image, point - head.levels[level].first_point,
                             inverse_normalizer<Real>(params.normalizer));
  }
  const Real sum = block_sum(loss, sums);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

}  // namespace pseudo_iou_ops
