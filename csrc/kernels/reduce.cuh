// Sums on a GPU in one fixed order: threads of a warp as a tree, then the warps of a block, then the blocks'
// parts by a second kernel. No floating-point atomics, so a run gives the bits of the one before.
#pragma once

#include <cstdint>

#include "../core/macros.h"
#include "cuda.h"

namespace pseudo_iou_ops {

constexpr int kSumThreads = 256;  // of every block that adds up
constexpr int kSumWarps = kSumThreads / kWarpSize;

// The sum over the warp, in its first thread.
template <class Real>
PIOU_DEVICE Real warp_sum(Real value) {
  PIOU_UNROLL
  for (int distance = kWarpSize / 2; distance > 0; distance /= 2) {
    value += __shfl_down_sync(kWholeWarp, value, distance);
  }
  return value;
}

// The sum over the block, in its first warp's first thread; `shared` holds kSumWarps values. All threads must
// come.
template <class Real>
PIOU_DEVICE Real block_sum(Real value, Real* shared) {
  const unsigned lane = threadIdx.x % kWarpSize;
  value = warp_sum(value);
  if (lane == 0) shared[threadIdx.x / kWarpSize] = value;
  __syncthreads();
  return warp_sum(lane < kSumWarps ? shared[lane] : Real(0));
}

// One block.
template <class Real>
PIOU_KERNEL void sum_parts_kernel(const Real* parts, int64_t count, Real* sum) {
  PIOU_SHARED_ARRAY(double, sums, kSumWarps);
  double own = 0;
  for (int64_t part = threadIdx.x; part < count; part += kSumThreads) own += static_cast<double>(parts[part]);
  const double total = block_sum(own, sums);
  if (threadIdx.x == 0) *sum = static_cast<Real>(total);
}

}  // namespace pseudo_iou_ops
