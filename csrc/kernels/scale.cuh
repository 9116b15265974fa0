// Multiplies gradients by a number on the device, in place. Where it is 1 the kernel ends at once.
#pragma once

#include "reduce.cuh"
#include "scale.h"
#include "vector.cuh"

namespace pseudo_iou_ops {

constexpr int kScaleVectors = 4;  // a thread's

struct ScaleTiles {
  int64_t first_tile[kMaxLevels];
  int64_t count;
};

template <class T>
ScaleTiles scale_tiles(const ScaleParams& params) {
  constexpr int64_t kTile = kSumThreads * kVectorSize<T> * kScaleVectors;
  ScaleTiles tiles{};
  for (int part = 0; part < params.num_parts; ++part) {
    tiles.first_tile[part] = tiles.count;
    tiles.count += divide_up(params.parts[part].count, kTile);
  }
  return tiles;
}

template <class T>
PIOU_KERNEL void PIOU_LAUNCH_BOUNDS(kSumThreads, 8)
    scale_kernel(const PIOU_GRID_CONSTANT ScaleParams params, const PIOU_GRID_CONSTANT ScaleTiles tiles) {
  constexpr int kStep = kSumThreads * kVectorSize<T>;
  const Compute<T> factor = *static_cast<const Compute<T>*>(params.factor);
  if (factor == 1) return;
  int part = 0;
  while (part + 1 < params.num_parts && blockIdx.x >= tiles.first_tile[part + 1]) ++part;
  T* const values = static_cast<T*>(params.parts[part].values);
  const int64_t size = params.parts[part].count;
  const bool is_aligned = is_vector_aligned(values);
  int64_t index =
      (blockIdx.x - tiles.first_tile[part]) * (kStep * kScaleVectors) + threadIdx.x * kVectorSize<T>;
  for (int repeat = 0; repeat < kScaleVectors && index < size; ++repeat, index += kStep) {
    const int count = vector_count<T>(size - index);
    Vector<T> vector = load_vector(values + index, count, is_aligned);
    PIOU_UNROLL
    for (int i = 0; i < kVectorSize<T>; ++i) vector.values[i] = narrow<T>(widen(vector.values[i]) * factor);
    store_vector(values + index, vector, count, is_aligned);
  }
}

}  // namespace pseudo_iou_ops
