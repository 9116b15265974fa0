// The best of many keys, which a warp holds among its lanes.
#pragma once

#include <cstdint>

#include "cuda.h"

namespace pseudo_iou_ops {

// The largest keys that a warp was offered, one a lane, the largest in lane 0. Keys are unique; 0 is none.
struct WarpBest {
  int k;                    // how many of them count, at most 32
  uint64_t key = 0;         // of this lane
  uint64_t least_best = 0;  // the k-th key: a smaller one does not count

  // Every lane brings a key, or 0.
  PIOU_DEVICE void offer(uint64_t offered) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    for (unsigned better = __ballot_sync(kWholeWarp, offered > least_best); better != 0;
         better &= better - 1) {
      const uint64_t entering = __shfl_sync(kWholeWarp, offered, __ffs(static_cast<int>(better)) - 1);
      if (entering <= least_best) continue;
      const uint64_t before = __shfl_up_sync(kWholeWarp, key, 1);
      if (key < entering) key = lane > 0 && before < entering ? before : entering;
      least_best = __shfl_sync(kWholeWarp, key, k - 1);
    }
  }
};

struct KeysOfWarp {
  uint64_t keys[32];
};

// Gives the first warp of a block the best keys of all its warps, whose lists are shared memory.
PIOU_DEVICE void merge_best(WarpBest& best, KeysOfWarp* lists, int warps) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  lists[warp].keys[lane] = lane < best.k ? best.key : 0;
  __syncthreads();
  for (int other = 1; warp == 0 && other < warps; ++other) best.offer(lists[other].keys[lane]);
  __syncthreads();
}

}  // namespace pseudo_iou_ops
