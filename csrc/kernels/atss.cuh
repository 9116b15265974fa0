// ATSS on a GPU. A warp takes a box, finds its candidates from the ranks of rows and columns and lays its
// claims; then each point is written by a thread of its own.
#pragma once

#include "../core/atss.h"
#include "top_k.cuh"

namespace pseudo_iou_ops {

constexpr int kAtssWarps = 2;

// How many pairs of a row and a column can be among the k closest points.
constexpr int pairs_in_reach(int k) {
  int pairs = 0;
  for (int row = 1; row <= k; ++row) pairs += k / row;
  return pairs;
}

// Shared memory bounds how many boxes a multiprocessor works on, so the common rule has a kernel of its own.
constexpr int kUsualLevels = 8, kUsualK = 16;

// A warp's memory for one box. A candidate is its level, the rank of its row and that of its column.
template <int kLevels, int kMostRanks>
struct AtssScratch {
  int counts[kLevels][2];             // ranked columns and rows
  int cells[kLevels][2][kMostRanks];  // of each rank
  uint64_t keys[pairs_in_reach(kMostRanks)];
  uint16_t candidates[kLevels * kMostRanks];
  float values[kLevels * kMostRanks];
};

struct AtssCandidate {
  int level, row, column;
};

// One of a warp's boxes, in one of the images that own it.
template <class Scratch>
struct AtssWarp {
  const TopKParams& params;
  const AtssRule& rule;
  Scratch& scratch;
  int lane;
  int64_t image, box_row;
  Box box;

  // Each lane ranks the cells of one axis of one level.
  PIOU_DEVICE void rank_axes() const {
    static_assert(2 * kMaxLevels <= 32, "a lane for each axis of each level");
    const int level = lane / 2, axis = lane % 2;
    if (level < params.num_levels) {
      const CellLine line = valid_line(params, image, level, axis == 1);
      const int count = line.count < rule.k ? line.count : rule.k;
      scratch.counts[level][axis] = count;
      rank_cells(line, axis == 1 ? center_y(box) : center_x(box), count, scratch.cells[level][axis]);
    }
    __syncwarp();
  }

  PIOU_DEVICE float coordinate(int level, int cell) const {
    return point_coordinate(cell, params.offset, params.levels[level].stride);
  }

  PIOU_DEVICE AtssCandidate candidate_at(int index) const {
    const int code = scratch.candidates[index];
    const int level = code / (kMaxK * kMaxK), row_rank = code / kMaxK % kMaxK, column_rank = code % kMaxK;
    return {level, scratch.cells[level][1][row_rank], scratch.cells[level][0][column_rank]};
  }

  // Lists the points of a level that can be among the k closest, and returns their number.
  PIOU_DEVICE int list_keys(int level) const {
    int pairs = 0;
    for (int row = 0; row < scratch.counts[level][1]; ++row) {
      const int reach = columns_in_reach(rule.k, row, scratch.counts[level][0]);
      if (lane < reach) {
        const float dx = coordinate(level, scratch.cells[level][0][lane]) - center_x(box);
        const float dy = coordinate(level, scratch.cells[level][1][row]) - center_y(box);
        scratch.keys[pairs + lane] = atss_key(dx, dy, row, lane);
      }
      pairs += reach;
    }
    __syncwarp();
    return pairs;
  }

  // Appends the k closest points of a level to the `first` candidates so far, and returns how many there are
  // then. Keys differ, so that as many are smaller as the place of a key tells.
  PIOU_DEVICE int add_candidates(int level, int first) const {
    const int pairs = list_keys(level), kept = pairs < rule.k ? pairs : rule.k;
    for (int index = lane; index < pairs; index += 32) {
      const uint64_t key = scratch.keys[index];
      int place = 0;
      for (int other = 0; other < pairs; ++other) place += scratch.keys[other] < key;
      if (place >= kept) continue;
      const int ranks = static_cast<int>(key & 0xffffffffu);
      scratch.candidates[first + place] = static_cast<uint16_t>(level * kMaxK * kMaxK + ranks);
      const AtssCandidate candidate = candidate_at(first + place);
      scratch.values[first + place] =
          atss_value(rule, params.levels[level].stride, box, coordinate(level, candidate.column),
                     coordinate(level, candidate.row));
    }
    __syncwarp();
    return first + kept;
  }

  // Lays claim to those of the candidates that stand out and lie inside the box.
  PIOU_DEVICE void claim_outstanding(int count) const {
    const float threshold = atss_threshold(scratch.values, count);
    for (int index = lane; index < count; index += 32) {
      const AtssCandidate candidate = candidate_at(index);
      const Distances d = distances(box, coordinate(candidate.level, candidate.column),
                                    coordinate(candidate.level, candidate.row));
      if (!passes_quality(threshold, rule.inclusive, scratch.values[index]) ||
          !is_deeper_inside(d, rule.inside_margin)) {
        continue;
      }
      const Level& level = params.levels[candidate.level];
      const int64_t output = image * params.num_points + level.first_point +
                             static_cast<int64_t>(candidate.row) * level.width + candidate.column;
      raise_claim(params.matched + output, claim_of(scratch.values[index], box_row));
      if (rule.all_boxes_compete) add_to_count(params.matched_labels + output, 1);
    }
  }

  PIOU_DEVICE void choose() const {
    rank_axes();
    int count = 0;
    for (int level = 0; level < params.num_levels; ++level) count = add_candidates(level, count);
    if (count > 0) claim_outstanding(count);
    __syncwarp();
  }
};

// Grid: a warp a box.
template <int kLevels, int kMostRanks, int kCapacity>
PIOU_KERNEL void choose_atss_kernel(const PIOU_GRID_CONSTANT TopKParams params,
                                    const PIOU_GRID_CONSTANT AtssRule rule,
                                    const PIOU_GRID_CONSTANT OffsetsOfCall<kCapacity> offsets) {
  using Scratch = AtssScratch<kLevels, kMostRanks>;
  PIOU_SHARED_ARRAY(Scratch, scratch, kAtssWarps);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int64_t box_row = static_cast<int64_t>(blockIdx.x) * kAtssWarps + warp;
  if (box_row >= params.num_boxes) return;
  const Box box = load_box(params.boxes, box_row);
  if (!is_valid(box)) return;
  visit_owners(params, offsets.boxes, box_row, [&](int64_t image) {
    AtssWarp<Scratch>{params, rule, scratch[warp], lane, image, box_row, box}.choose();
  });
}

// Grid: the points of the first image, of the second, and so on.
template <int kCapacity>
PIOU_KERNEL void write_atss_kernel(const PIOU_GRID_CONSTANT TopKParams params,
                                   const PIOU_GRID_CONSTANT AtssRule rule,
                                   const PIOU_GRID_CONSTANT OffsetsOfCall<kCapacity> offsets,
                                   int64_t blocks_per_image) {
  const int64_t image = blockIdx.x / blocks_per_image;
  const int64_t index = blockIdx.x % blocks_per_image * kTopKThreads + threadIdx.x;
  bool is_positive = false;
  if (index < params.num_points) {
    const int64_t output = image * params.num_points + index;
    const PointOfImage point = point_of_image(params, index);
    int64_t claim = params.matched[output];
    is_positive = claim >= 0;
    if (is_positive) {
      if (rule.all_boxes_compete && params.matched_labels[output] > kBackground + 1) {
        claim = strongest_claim(params, rule, offsets.boxes.rows(image, params.num_boxes), point.stride,
                                point.x, point.y);
      }
      write_box(params, output, point, claim, 1.0f);
    } else {
      write_unclaimed(params, offsets.regions, image, output, point);
    }
  }
  count_positives(params, image, is_positive);
}

// A thread clears a point and the counters of its number.
PIOU_KERNEL void clear_atss_kernel(const PIOU_GRID_CONSTANT TopKParams params) {
  clear_top_k(params, static_cast<int64_t>(blockIdx.x) * kTopKThreads + threadIdx.x);
}

template <int kCapacity, class Launch>
void launch_choose_and_write(const TopKParams& params, const AtssRule& rule,
                             const OffsetsOfCall<kCapacity>& offsets, const Launch& launch) {
  const bool is_usual = params.num_levels <= kUsualLevels && rule.k <= kUsualK;
  const auto choose = is_usual ? choose_atss_kernel<kUsualLevels, kUsualK, kCapacity>
                               : choose_atss_kernel<kMaxLevels, kMaxK, kCapacity>;
  if (params.num_boxes > 0) {
    launch(choose, divide_up(params.num_boxes, kAtssWarps), 32 * kAtssWarps, params, rule, offsets);
  }
  const int64_t blocks_per_image = divide_up(params.num_points, kTopKThreads);
  launch(write_atss_kernel<kCapacity>, blocks_per_image * params.num_images, kTopKThreads, params, rule,
         offsets, blocks_per_image);
}

// Calls launch(kernel, blocks, threads, arguments...) for each kernel of a call.
template <class Launch>
void launch_atss_kernels(const TopKParams& params, const AtssRule& rule, const Launch& launch) {
  const int64_t outputs = params.num_images * params.num_points;
  const int64_t cleared = std::max({outputs, params.num_images, params.num_boxes});
  if (cleared == 0) return;
  launch(clear_atss_kernel, divide_up(cleared, kTopKThreads), kTopKThreads, params);
  if (outputs == 0) return;
  with_offsets(params, [&](const auto& offsets) { launch_choose_and_write(params, rule, offsets, launch); });
}

}  // namespace pseudo_iou_ops
