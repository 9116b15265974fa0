// Sums on a GPU in one fixed order: threads of a block as a tree, then the blocks' parts by a second kernel.
// No floating-point atomics, so a run gives the bits of the one before.
#pragma once

#include <cstdint>

#include "../core/macros.h"
#include "cuda.h"

namespace pseudo_iou_ops {

constexpr int kSumThreads = 256;  // of every block that adds up

// The sum over the block, in its first thread; `shared` holds kSumThreads values. All threads must come.
template <class Real>
PIOU_DEVICE Real block_sum(Real value, Real* shared) {
  shared[threadIdx.x] = value;
  __syncthreads();
  for (unsigned half = kSumThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    __syncthreads();
  }
  return shared[0];
}

// One block.
template <class Real>
PIOU_KERNEL void sum_parts_kernel(const Real* parts, int64_t count, Real* sum) {
  PIOU_SHARED_ARRAY(double, sums, kSumThreads);
  double own = 0;
  for (int64_t part = threadIdx.x; part < count; part += kSumThreads) own += static_cast<double>(parts[part]);
  const double total = block_sum(own, sums);
  if (threadIdx.x == 0) *sum = static_cast<Real>(total);
}

}  // namespace pseudo_iou_ops
