// The classification losses on a GPU, one launch for all levels and images. A thread reads 16 bytes of logits
// at a time, where they lie, and writes their gradients; its block leaves one part of the loss.
#pragma once

#include "../core/class_loss.h"
#include "../core/class_loss_params.h"
#include "reduce.cuh"
#include "vector.cuh"

namespace pseudo_iou_ops {

constexpr int kVectorsPerTile = 8;   // a thread's, where classes come last
constexpr int kClassesPerTile = 16;  // a thread's, one vector each, where points come last

// The blocks a multiprocessor holds at least; more would leave float64 or 16-bit vectors too few registers.
template <class T>
constexpr int kClassLossBlocks = sizeof(T) == 8 ? 2 : (sizeof(T) == 4 ? 5 : 4);

// How the blocks of an image are shared out among its levels.
struct ClassLossTiles {
  int first_tile[kMaxLevels];
  int point_tiles[kMaxLevels];  // of a level whose points come last: tiles beside each other in a class
  bool is_aligned[kMaxLevels];  // every vector begins on 16 bytes
  int tiles_per_image;
};

template <class T>
ClassLossTiles class_loss_tiles(const ClassLossParams& params) {
  ClassLossTiles tiles{};
  const auto divide_up = [](int64_t count, int64_t size) { return (count + size - 1) / size; };
  const int64_t tile_width = kSumThreads * kVectorSize<T>;
  int64_t total = 0;
  for (int index = 0; index < params.head.num_levels; ++index) {
    const HeadLevel& level = params.head.levels[index];
    const int64_t line = level.channels_last ? level.num_points * params.head.num_channels : level.num_points;
    const int64_t across = divide_up(line, level.channels_last ? tile_width * kVectorsPerTile : tile_width);
    tiles.first_tile[index] = static_cast<int>(total);
    tiles.point_tiles[index] = static_cast<int>(across);
    tiles.is_aligned[index] =
        line % kVectorSize<T> == 0 && is_vector_aligned(level.values) && is_vector_aligned(level.gradients);
    total += across * (level.channels_last ? 1 : divide_up(params.head.num_channels, kClassesPerTile));
  }
  tiles.tiles_per_image = static_cast<int>(total);
  return tiles;
}

// The logits of one image's level and what a thread needs beside them.
template <class T>
struct LogitSlab {
  const T* logits;
  T* gradients;  // or null
  int64_t first_label;
  int64_t num_points;
  Compute<T> negative_weight, matched_weight, exponent;
  bool is_aligned;
};

// Turns logits whose target is 0 into their gradients and returns their loss. Bits of `hidden` tell which are
// to give neither.
template <class T, bool kIsSquare>
PIOU_DEVICE Compute<T> negative_vector(const LogitSlab<T>& slab, unsigned hidden, Vector<T>& vector) {
  using Real = Compute<T>;
  Real loss = 0;
  PIOU_UNROLL
  for (int i = 0; i < kVectorSize<T>; ++i) {
    const Real weight = (hidden >> i & 1u) != 0 ? Real(0) : slab.negative_weight;
    const Real logit = widen(vector.values[i]);
    const LossTerm<Real> term = negative_term<kIsSquare>(weight != 0 ? logit : Real(0), slab.exponent);
    loss += weight * term.loss;
    vector.values[i] = narrow<T>(weight * term.gradient);
  }
  return loss;
}

// The matched logits among the vector at `index`, one by one: they are few. point_of(i) is the point of logit
// i.
template <class T, class PointOf>
PIOU_DEVICE Compute<T> add_matches(const ClassLossParams& params, const LogitSlab<T>& slab, int64_t index,
                                   unsigned matched, const PointOf& point_of) {
  using Real = Compute<T>;
  Real loss = 0;
  for (; matched != 0; matched &= matched - 1) {
    const int i = __ffs(static_cast<int>(matched)) - 1;
    const Real target = target_at(params, slab.first_label + point_of(i));
    const LossTerm<Real> term = matched_term<Real>(widen(slab.logits[index + i]), target, slab.exponent);
    loss += slab.matched_weight * term.loss;
    if (slab.gradients != nullptr) slab.gradients[index + i] = narrow<T>(slab.matched_weight * term.gradient);
  }
  return loss;
}

// The loss of the vector at `index`, and its gradients written.
template <class T, bool kIsSquare, class PointOf>
PIOU_DEVICE Compute<T> run_vector(const ClassLossParams& params, const LogitSlab<T>& slab, int64_t index,
                                  int count, unsigned matched, unsigned ignored, const PointOf& point_of) {
  Vector<T> vector = load_vector(slab.logits + index, count, slab.is_aligned);
  const unsigned hidden = matched | ignored | ~0u << count;
  const Compute<T> loss = negative_vector<T, kIsSquare>(slab, hidden, vector);
  if (slab.gradients != nullptr) store_vector(slab.gradients + index, vector, count, slab.is_aligned);
  return matched == 0 ? loss : loss + add_matches(params, slab, index, matched, point_of);
}

template <class T>
PIOU_DEVICE int vector_count(int64_t left) {
  return left < kVectorSize<T> ? static_cast<int>(left) : kVectorSize<T>;
}

// All classes of some points: the logits of a level one after another, a vector each kSumThreads vectors.
template <class T, bool kIsSquare>
PIOU_DEVICE Compute<T> walk_classes_last(const ClassLossParams& params, const LogitSlab<T>& slab, int tile) {
  constexpr int kStep = kSumThreads * kVectorSize<T>;
  const int64_t classes = params.head.num_channels, size = slab.num_points * classes;
  int64_t index = static_cast<int64_t>(tile) * (kStep * kVectorsPerTile) + threadIdx.x * kVectorSize<T>;
  int64_t first_point = index / classes, first_class = index - first_point * classes;
  const int64_t step_points = kStep / classes, step_classes = kStep - step_points * classes;
  Compute<T> loss = 0;
  for (int repeat = 0; repeat < kVectorsPerTile && index < size; ++repeat, index += kStep) {
    const int count = vector_count<T>(size - index);
    int64_t point = first_point, class_index = first_class;
    PointLabel label = point_label(params, params.labels[slab.first_label + point]);
    unsigned matched = 0, ignored = 0;
    PIOU_UNROLL
    for (int i = 0; i < kVectorSize<T>; ++i, ++class_index) {
      if (i >= count) break;
      if (class_index == classes) {
        class_index = 0;
        label = point_label(params, params.labels[slab.first_label + ++point]);
      }
      matched |= static_cast<unsigned>(class_index == label.match) << i;
      ignored |= static_cast<unsigned>(label.is_ignored) << i;
    }
    const auto point_of = [&](int i) { return (index + i) / classes; };
    loss += run_vector<T, kIsSquare>(params, slab, index, count, matched, ignored, point_of);
    first_point += step_points;
    first_class += step_classes;
    if (first_class >= classes) {
      first_class -= classes;
      ++first_point;
    }
  }
  return loss;
}

// Some classes of a vector of points, whose labels are read once.
template <class T, bool kIsSquare>
PIOU_DEVICE Compute<T> walk_points_last(const ClassLossParams& params, const LogitSlab<T>& slab, int tile,
                                        int point_tiles) {
  const int64_t first_point =
      (static_cast<int64_t>(tile % point_tiles) * kSumThreads + threadIdx.x) * kVectorSize<T>;
  if (first_point >= slab.num_points) return 0;
  const int count = vector_count<T>(slab.num_points - first_point);
  int matches[kVectorSize<T>];
  unsigned ignored = 0;
  PIOU_UNROLL
  for (int i = 0; i < kVectorSize<T>; ++i) {
    matches[i] = -1;
    if (i >= count) continue;
    const PointLabel label = point_label(params, params.labels[slab.first_label + first_point + i]);
    matches[i] = static_cast<int>(label.match);
    ignored |= static_cast<unsigned>(label.is_ignored) << i;
  }
  const auto point_of = [&](int i) { return first_point + i; };
  const int first_class = tile / point_tiles * kClassesPerTile;
  const int classes = static_cast<int>(params.head.num_channels);
  const int last_class = classes - first_class < kClassesPerTile ? classes : first_class + kClassesPerTile;
  Compute<T> loss = 0;
  for (int class_index = first_class; class_index < last_class; ++class_index) {
    unsigned matched = 0;
    PIOU_UNROLL
    for (int i = 0; i < kVectorSize<T>; ++i) matched |= static_cast<unsigned>(matches[i] == class_index) << i;
    const int64_t index = class_index * slab.num_points + first_point;
    loss += run_vector<T, kIsSquare>(params, slab, index, count, matched, ignored, point_of);
  }
  return loss;
}

// Grid: the tiles of the first image, of the second, and so on.
template <class T, bool kIsSquare>
PIOU_KERNEL void PIOU_LAUNCH_BOUNDS(kSumThreads, kClassLossBlocks<T>)
    class_loss_kernel(const PIOU_GRID_CONSTANT ClassLossParams params,
                      const PIOU_GRID_CONSTANT ClassLossTiles tiles, Compute<T>* parts) {
  using Real = Compute<T>;
  PIOU_SHARED_ARRAY(Real, sums, kSumThreads);
  const int64_t image = blockIdx.x / tiles.tiles_per_image;
  const int tile = static_cast<int>(blockIdx.x % tiles.tiles_per_image);
  int index = 0;
  while (index + 1 < params.head.num_levels && tile >= tiles.first_tile[index + 1]) ++index;
  const HeadLevel& level = params.head.levels[index];
  const int64_t first_logit = image * level.num_points * params.head.num_channels;
  const Real scale = inverse_normalizer(params.normalizer);
  const LogitSlab<T> slab{
      static_cast<const T*>(level.values) + first_logit,
      level.gradients != nullptr ? static_cast<T*>(level.gradients) + first_logit : nullptr,
      image * params.head.num_points + level.first_point,
      level.num_points,
      params.negative_weight * scale,
      params.matched_weight * scale,
      params.exponent,
      tiles.is_aligned[index]};
  const int tile_in_level = tile - tiles.first_tile[index];
  const Real loss = level.channels_last ? walk_classes_last<T, kIsSquare>(params, slab, tile_in_level)
                                        : walk_points_last<T, kIsSquare>(params, slab, tile_in_level,
                                                                         tiles.point_tiles[index]);
  const Real sum = block_sum(loss, sums);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

}  // namespace pseudo_iou_ops
