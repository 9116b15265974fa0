// The classification losses on a GPU, one launch for all levels and images. A thread reads 16 bytes of logits
// at a time, where they lie, and writes their gradients; its block leaves one part of the loss.
#pragma once

#include "../core/class_loss.h"
#include "reduce.cuh"
#include "vector.cuh"

namespace pseudo_iou_ops {

// A thread's, one after another; where points come last each is of another class.
#ifndef PSEUDO_IOU_OPS_CLASSES_PER_TILE
#define PSEUDO_IOU_OPS_CLASSES_PER_TILE 8
#endif
constexpr int kVectorsPerTile = PSEUDO_IOU_OPS_CLASSES_PER_TILE;
static_assert(kVectorsPerTile <= 32, "a bit each");

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
    total += across * (level.channels_last ? 1 : divide_up(params.head.num_channels, kVectorsPerTile));
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

// Which logits of a vector are not plain negatives: bits.
struct Exceptions {
  unsigned matched, ignored;
};

// Turns logits whose target is 0 into their gradients and returns their loss. Bits of `hidden` tell which
// give neither.
template <class T, bool kIsSquare, bool kHides>
PIOU_DEVICE Compute<T> negative_vector(const LogitSlab<T>& slab, unsigned hidden, Vector<T>& vector) {
  using Real = Compute<T>;
  Real loss = 0;
  PIOU_UNROLL
  for (int i = 0; i < kVectorSize<T>; ++i) {
    const LossTerm<Real> term =
        negative_term<kIsSquare>(widen(vector.values[i]), slab.exponent, slab.negative_weight);
    const bool is_hidden = kHides && (hidden >> i & 1u) != 0;
    loss += is_hidden ? Real(0) : term.loss;
    vector.values[i] = narrow<T>(is_hidden ? Real(0) : term.gradient);
  }
  return loss;
}

// The matched logits among a vector, one by one: they are few.
template <class T, class Walk>
PIOU_DEVICE Compute<T> add_matches(const ClassLossParams& params, const LogitSlab<T>& slab, const Walk& walk,
                                   unsigned matched) {
  using Real = Compute<T>;
  Real loss = 0;
  for (; matched != 0; matched &= matched - 1) {
    const int i = __ffs(static_cast<int>(matched)) - 1;
    const Real target = target_at(params, slab.first_label + walk.point_of(i));
    const int64_t index = walk.index() + i;
    const LossTerm<Real> term = matched_term<Real>(widen(slab.logits[index]), target, slab.exponent);
    loss += slab.matched_weight * term.loss;
    if (slab.gradients != nullptr) slab.gradients[index] = narrow<T>(slab.matched_weight * term.gradient);
  }
  return loss;
}

// The vectors of a thread. A walk tells where the next one lies, how many of its values exist, and the
// exceptions among them; nearly every vector has none.
template <class T, bool kIsSquare, class Walk>
PIOU_DEVICE Compute<T> run_vectors(const ClassLossParams& params, const LogitSlab<T>& slab, Walk walk) {
  constexpr unsigned kWhole = (1u << kVectorSize<T>)-1;
  Compute<T> loss = 0;
  for (int repeat = 0; walk.has_vector(repeat); ++repeat, walk.advance()) {
    const Exceptions exceptions = walk.exceptions(params, slab, repeat);
    Vector<T> vector = load_vector(slab.logits + walk.index(), walk.count(), slab.is_aligned);
    const unsigned hidden = (exceptions.matched | exceptions.ignored | ~0u << walk.count()) & kWhole;
    loss += hidden == 0 ? negative_vector<T, kIsSquare, false>(slab, hidden, vector)
                        : negative_vector<T, kIsSquare, true>(slab, hidden, vector);
    if (slab.gradients != nullptr)
      store_vector(slab.gradients + walk.index(), vector, walk.count(), slab.is_aligned);
    if (exceptions.matched != 0) loss += add_matches<T>(params, slab, walk, exceptions.matched);
  }
  return loss;
}

// All classes of some points: the logits of a level one after another, a vector each kSumThreads vectors.
template <class T>
struct ClassesLastWalk {
  static constexpr int kStep = kSumThreads * kVectorSize<T>, kTile = kStep * kVectorsPerTile;

  PIOU_DEVICE ClassesLastWalk(const ClassLossParams& params, const LogitSlab<T>& slab, int tile)
      : classes(static_cast<int>(params.head.num_channels)),
        first(static_cast<int64_t>(tile) * kTile),
        place(threadIdx.x * kVectorSize<T>),
        step_points(kStep / classes),
        step_classes(kStep - step_points * classes) {
    const int64_t left = slab.num_points * classes - first;
    size = left < kTile ? static_cast<int>(left) : kTile;
    point = static_cast<int>((first + place) / classes);
    class_index = static_cast<int>(first + place - static_cast<int64_t>(point) * classes);
  }

  PIOU_DEVICE bool has_vector(int) const { return place < size; }
  PIOU_DEVICE int64_t index() const { return first + place; }
  PIOU_DEVICE int count() const { return vector_count<T>(size - place); }
  PIOU_DEVICE int64_t point_of(int i) const { return (index() + i) / classes; }

  PIOU_DEVICE void advance() {
    place += kStep;
    point += step_points;
    class_index += step_classes;
    if (class_index >= classes) {
      class_index -= classes;
      ++point;
    }
  }

  PIOU_DEVICE Exceptions exceptions(const ClassLossParams& params, const LogitSlab<T>& slab, int) const {
    const int64_t* labels = params.labels + slab.first_label + point;
    PointLabel label = point_label(params, *labels);
    if (class_index + kVectorSize<T> <= classes) {  // one point's, as always where classes fill whole vectors
      const unsigned position = static_cast<unsigned>(static_cast<int>(label.match) - class_index);
      return {position < kVectorSize<T> ? 1u << position : 0u, label.is_ignored ? ~0u : 0u};
    }
    Exceptions found{0, 0};
    int own_class = class_index;
    for (int i = 0; i < count(); ++i, ++own_class) {
      if (own_class == classes) {
        own_class = 0;
        label = point_label(params, *++labels);
      }
      found.matched |= static_cast<unsigned>(own_class == label.match) << i;
      found.ignored |= static_cast<unsigned>(label.is_ignored) << i;
    }
    return found;
  }

  const int classes;
  const int64_t first;  // logit of the tile
  int place, size;      // of the vector in the tile, and of the tile
  int point, class_index;
  const int step_points, step_classes;
};

// Some classes of a vector of points, whose labels are read once.
template <class T>
struct PointsLastWalk {
  PIOU_DEVICE PointsLastWalk(const ClassLossParams& params, const LogitSlab<T>& slab, int tile,
                             int point_tiles)
      : num_points(slab.num_points),
        first_point((static_cast<int64_t>(tile % point_tiles) * kSumThreads + threadIdx.x) * kVectorSize<T>),
        first_class(tile / point_tiles * kVectorsPerTile),
        first_logit(first_class * num_points + first_point),
        num_values(vector_count<T>(num_points - first_point)) {
    const int left = static_cast<int>(params.head.num_channels) - first_class;
    classes = first_point >= num_points ? 0 : (left < kVectorsPerTile ? left : kVectorsPerTile);
    PIOU_UNROLL
    for (int i = 0; i < kVectorSize<T>; ++i) {
      matches[i] = -1;
      if (i >= num_values) continue;
      const PointLabel label = point_label(params, params.labels[slab.first_label + first_point + i]);
      const int64_t position = label.match - first_class;
      if (label.match >= 0 && position >= 0 && position < kVectorsPerTile) {
        matches[i] = static_cast<int>(position);
        matched_vectors |= 1u << position;
      }
      ignored |= static_cast<unsigned>(label.is_ignored) << i;
    }
  }

  PIOU_DEVICE bool has_vector(int repeat) const { return repeat < classes; }

  PIOU_DEVICE void advance() { first_logit += num_points; }
  PIOU_DEVICE int64_t index() const { return first_logit; }
  PIOU_DEVICE int count() const { return num_values; }

  PIOU_DEVICE Exceptions exceptions(const ClassLossParams&, const LogitSlab<T>&, int repeat) const {
    unsigned matched = 0;
    if ((matched_vectors >> repeat & 1u) != 0) {
      PIOU_UNROLL
      for (int i = 0; i < kVectorSize<T>; ++i) matched |= static_cast<unsigned>(matches[i] == repeat) << i;
    }
    return {matched, ignored};
  }

  PIOU_DEVICE int64_t point_of(int i) const { return first_point + i; }

  const int64_t num_points, first_point;
  const int first_class;
  int64_t first_logit;  // of the vector
  const int num_values;
  int classes;
  int matches[kVectorSize<T>];   // of each point: the vector of its class, or -1
  unsigned matched_vectors = 0;  // those that some point matches
  unsigned ignored = 0;
};

// Grid: the tiles of the first image, of the second, and so on.
template <class T, bool kIsSquare>
PIOU_KERNEL void PIOU_LAUNCH_BOUNDS_WIDELY(kSumThreads, kClassLossBlocks<T>)
    class_loss_kernel(const PIOU_GRID_CONSTANT ClassLossParams params,
                      const PIOU_GRID_CONSTANT ClassLossTiles tiles, Compute<T>* parts) {
  using Real = Compute<T>;
  PIOU_SHARED_ARRAY(Real, sums, kSumWarps);
  const int64_t image = blockIdx.x / tiles.tiles_per_image;
  const int tile = static_cast<int>(blockIdx.x % tiles.tiles_per_image);
  int index = 0;
  while (index + 1 < params.head.num_levels && tile >= tiles.first_tile[index + 1]) ++index;
  const HeadLevel& level = params.head.levels[index];
  const int64_t first_logit = image * level.num_points * params.head.num_channels;
  const Real scale = inverse_normalizer<Real>(params.normalizer);
  const LogitSlab<T> slab{
      static_cast<const T*>(level.values) + first_logit,
      level.gradients != nullptr ? static_cast<T*>(level.gradients) + first_logit : nullptr,
      image * params.head.num_points + level.first_point,
      level.num_points,
      static_cast<Real>(params.negative_weight) * scale,
      static_cast<Real>(params.matched_weight) * scale,
      static_cast<Real>(params.exponent),
      tiles.is_aligned[index]};
  const int tile_in_level = tile - tiles.first_tile[index];
  const Real loss =
      level.channels_last
          ? run_vectors<T, kIsSquare>(params, slab, ClassesLastWalk<T>(params, slab, tile_in_level))
          : run_vectors<T, kIsSquare>(
                params, slab, PointsLastWalk<T>(params, slab, tile_in_level, tiles.point_tiles[index]));
  const Real sum = block_sum(loss, sums);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

}  // namespace pseudo_iou_ops
