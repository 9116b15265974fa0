// Task-aligned assignment on a GPU. Warps visit the points of their boxes and claim the best; a box with many
// is visited by a whole block. Then each point is settled, scored and written by a thread of its own.
#pragma once

#include "box_cells.cuh"
#include "task_aligned.h"
#include "task_aligned_positives.cuh"
#include "top_k.cuh"
#include "warp_best.cuh"

namespace pseudo_iou_ops {

constexpr int kChooseWarps = 12;
constexpr int kCellsOfWarp = 256;  // of a level; a box with more of them is visited by its block

// As many blocks as keep a GPU busy; only more boxes than these share one.
constexpr int64_t kWantedBlocks = 256;

// The label of a point that boxes choose is, until it is settled, kBackground plus this and the row of each.
constexpr int64_t kOneChooser = int64_t{1} << 32;

// A thread clears a point and the counters of its number.
PIOU_KERNEL void clear_task_aligned_kernel(const PIOU_GRID_CONSTANT TopKParams params,
                                           int64_t* last_positive) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kTopKThreads + threadIdx.x;
  clear_top_k(params, index);
  if (index < params.num_boxes) last_positive[index] = kNoPositive;
}

// An alignment above 0 and its point: the larger alignment is the larger key, of equal ones the lower point.
PIOU_DEVICE uint64_t key_of(float alignment, uint32_t point) {
  return static_cast<uint64_t>(bits_of(alignment)) << 32 | (0xffffffffu - point);
}

PIOU_DEVICE float alignment_of_key(uint64_t key) { return float_of(static_cast<uint32_t>(key >> 32)); }

PIOU_DEVICE uint32_t point_of_key(uint64_t key) { return 0xffffffffu - static_cast<uint32_t>(key); }

// A box in one of the images that own it, and the threads that choose its points.
struct ChoosingBox {
  const TaskAlignedParams& params;
  Team team;
  int image, row;
  Box box;
  WarpBest best;

  PIOU_DEVICE float overlap_at(const HeadPoint& at, float x, float y) const {
    return prediction_overlap(params.rule, predicted_box(params.predictions, at, x, y), box);
  }

  PIOU_DEVICE int64_t output_of(int64_t point) const { return image * params.call.num_points + point; }

  // Where candidates are all points, a box visits those that it does not hold, too.
  PIOU_DEVICE bool holds_visited(float x, float y) const {
    return !params.rule.all_candidates || holds(params.rule, box, x, y);
  }

  // The key of a point, or 0 where it cannot be among the best. A score is at most 1, and is not read where
  // the overlap alone tells. If the holders of a point compete for it, all claim it: several may choose it.
  PIOU_DEVICE uint64_t key_at(const Cell& cell) const {
    const Level& level = params.call.levels[cell.level];
    const float x = point_coordinate(cell.column, params.call.offset, level.stride);
    const float y = point_coordinate(cell.row, params.call.offset, level.stride);
    const int64_t point = level.first_point + static_cast<int64_t>(cell.row) * level.width + cell.column;
    const HeadPoint at{image, point, cell.level};
    const float overlap = overlap_at(at, x, y);
    if (params.rule.among == Among::kHolders && holds_visited(x, y)) {
      raise_claim(params.call.matched + output_of(point), claim_of(overlap, row));
    }
    if (!(whole_power(overlap, params.rule.beta) > alignment_of_key(best.least_best))) return 0;
    const float value = alignment(params, at, row, overlap);
    return value > 0.0f ? key_of(value, static_cast<uint32_t>(point)) : 0;
  }

  PIOU_DEVICE void visit(const AxisCells& cells) {
    visit_cells(params.call.num_levels, cells, team,
                [&](const Cell& cell, bool is_cell) { best.offer(is_cell ? key_at(cell) : 0); });
  }

  // Each lane of a warp claims one of the best points.
  PIOU_DEVICE void claim_best() const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    if (lane >= best.k || best.key == 0) return;
    const int64_t point = point_of_key(best.key);
    const PointOfImage place = point_of_image(params.call, point);
    if (!holds_visited(place.x, place.y)) return;
    const float overlap = overlap_at({image, point, place.level}, place.x, place.y);
    raise_claim(params.call.matched + output_of(point), claim_of(overlap, row));
    if (params.rule.among != Among::kChoosers) {
      add_to_count(params.call.matched_labels + output_of(point), kOneChooser + row);
    }
  }
};

// Lets a box choose its points in an image, if they are as many as its team is for; returns whether they are
// more than a warp is for.
PIOU_DEVICE bool choose_points(ChoosingBox& choosing, KeysOfWarp* lists) {
  const TaskAlignedParams& params = choosing.params;
  const AxisCells cells = axis_cells(params.call, choosing.image, grown(choosing.box, params.rule.min_side),
                                     larger(params.rule.inside_margin, 0.0f), params.rule.all_candidates);
  const bool is_large = has_level_of_more(cells, kCellsOfWarp), is_warp = choosing.team.size == 32;
  if (is_large == is_warp) return is_large;
  choosing.visit(cells);
  if (!is_warp) merge_best(choosing.best, lists, kChooseWarps);
  if (is_warp || threadIdx.x < 32) choosing.claim_best();
  return is_large;
}

// Grid: so many boxes a block, at most one a warp. In the first round each warp has a box of its own; those
// that are too large for it come in the next, one after another, before the whole block.
template <int kCapacity>
PIOU_KERNEL void PIOU_EXACT_LAUNCH_BOUNDS(32 * kChooseWarps, 2)
    choose_task_aligned_kernel(const PIOU_GRID_CONSTANT TaskAlignedParams params,
                               const PIOU_GRID_CONSTANT OffsetsOfCall<kCapacity> offsets,
                               int boxes_per_block) {
  PIOU_SHARED_ARRAY(KeysOfWarp, lists, kChooseWarps);
  PIOU_SHARED_ARRAY(int, is_large, kChooseWarps);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  if (lane == 0) is_large[warp] = 0;
  for (int round = 0; round <= boxes_per_block; ++round) {
    const bool is_first = round == 0;
    if (round == 1) __syncthreads();
    const int index = is_first ? warp : round - 1;
    const int64_t row = static_cast<int64_t>(blockIdx.x) * boxes_per_block + index;
    if (index >= boxes_per_block || row >= params.call.num_boxes || !(is_first || is_large[index])) continue;
    const Box box = load_box(params.call.boxes, row);
    if (!is_valid(box)) continue;
    const Team team = is_first ? Team{lane, 32} : Team{thread, 32 * kChooseWarps};
    visit_owners(params.call, offsets.boxes, row, [&](int image) {
      ChoosingBox choosing{params, team, image, static_cast<int>(row), box, {params.rule.k}};
      if (choose_points(choosing, lists) && is_first && lane == 0) is_large[warp] = 1;
    });
  }
}

// The strongest claim of all boxes of an image to one of its points; all lanes of a warp look for it.
PIOU_DEVICE int64_t strongest_of_all(const TaskAlignedParams& params, const Rows& rows, int64_t image,
                                     int64_t point) {
  const PointOfImage place = point_of_image(params.call, point);
  const Box prediction = predicted_box(params.predictions, {image, point, place.level}, place.x, place.y);
  int64_t strongest = kBackground;
  for (int64_t row = rows.begin + static_cast<int64_t>(threadIdx.x % 32); row < rows.end; row += 32) {
    const Box box = load_box(params.call.boxes, row);
    if (!is_valid(box)) continue;
    const int64_t claim = claim_of(prediction_overlap(params.rule, prediction, box), row);
    if (claim > strongest) strongest = claim;
  }
  return strongest_of_warp(strongest);
}

// The claim of the box that a point goes to, and below 0 if none chose it. Called by whole warps, whose lanes
// have neighbouring points of an image, or none beyond the last.
template <int kCapacity>
PIOU_DEVICE int64_t settled_claim(const TaskAlignedParams& params, const ImageOffsets<kCapacity>& offsets,
                                  const PointThread& here) {
  int64_t claim = here.is_point ? params.call.matched[here.output] : kBackground;
  if (params.rule.among == Among::kChoosers) return claim;
  const int64_t chosen = here.is_point ? params.call.matched_labels[here.output] - kBackground : 0;
  if (chosen == 0) claim = kBackground;
  const bool is_contested = chosen >= 2 * kOneChooser;
  if (params.rule.among == Among::kHolders) {
    if (chosen == 0 || is_contested) return claim;
    const int64_t row = chosen - kOneChooser;
    const PointOfImage place = point_of_image(params.call, here.point);
    const HeadPoint at{here.image, here.point, place.level};
    const Box prediction = predicted_box(params.predictions, at, place.x, place.y);
    return claim_of(prediction_overlap(params.rule, prediction, load_box(params.call.boxes, row)), row);
  }
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (unsigned rest = __ballot_sync(kWholeWarp, is_contested); rest != 0; rest &= rest - 1) {
    const int source = __ffs(static_cast<int>(rest)) - 1;
    const Rows rows = offsets.rows(here.image, params.call.num_boxes);
    const int64_t strongest = strongest_of_all(params, rows, here.image, here.point - lane + source);
    if (lane == source) claim = strongest;
  }
  return claim;
}

// Gives every point that boxes chose to one of them. Grid: as of PointThread.
template <int kCapacity>
PIOU_KERNEL void settle_task_aligned_kernel(const PIOU_GRID_CONSTANT TaskAlignedParams params,
                                            const PIOU_GRID_CONSTANT OffsetsOfCall<kCapacity> offsets,
                                            int64_t* last_positive, int64_t blocks_per_image) {
  const PointThread here(params.call, blocks_per_image);
  const int64_t claim = settled_claim(params, offsets.boxes, here);
  if (!here.is_point) return;
  params.call.matched[here.output] = claim;
  if (claim < 0) return;
  const int64_t row = row_of_claim(claim);
  const float overlap = value_of_claim(claim);
  const HeadPoint at{here.image, here.point, point_of_image(params.call, here.point).level};
  add_positive(params.call, last_positive + row, here.output, alignment(params, at, row, overlap), overlap);
}

// Grid: as of PointThread.
template <int kCapacity>
PIOU_KERNEL void write_task_aligned_kernel(const PIOU_GRID_CONSTANT TopKParams params,
                                           const PIOU_GRID_CONSTANT OffsetsOfCall<kCapacity> offsets,
                                           int64_t blocks_per_image) {
  const PointThread here(params, blocks_per_image);
  bool is_positive = false;
  if (here.is_point) {
    const PointOfImage place = point_of_image(params, here.point);
    const int64_t claim = params.matched[here.output];
    is_positive = claim >= 0;
    if (is_positive) {
      write_box(params, here.output, place, claim, params.score[here.output]);
    } else {
      write_unclaimed(params, offsets.regions, here.image, here.output, place);
    }
  }
  count_positives(params, here.image, is_positive);
}

template <int kCapacity, class Launch>
void launch_on_points(const TaskAlignedParams& params, int64_t* last_positive,
                      const OffsetsOfCall<kCapacity>& offsets, const Launch& launch) {
  const TopKParams& call = params.call;
  const int64_t blocks_per_image = divide_up(call.num_points, kTopKThreads);
  const auto launch_one = [&](auto kernel, const auto&... arguments) {
    launch(kernel, blocks_per_image * call.num_images, kTopKThreads, arguments..., blocks_per_image);
  };
  if (call.num_boxes > 0) {
    launch_one(settle_task_aligned_kernel<kCapacity>, params, offsets, last_positive);
    if (params.rule.keep > 0) launch_one(keep_best_kernel, call, params.rule.keep, last_positive);
    launch_one(score_positives_kernel, call, params.rule, last_positive);
  }
  launch_one(write_task_aligned_kernel<kCapacity>, call, offsets);
}

// Calls launch(kernel, blocks, threads, arguments...) for each kernel of a call. `last_positive` has a number
// for each box.
template <class Launch>
void launch_task_aligned_kernels(const TaskAlignedParams& params, int64_t* last_positive,
                                 const Launch& launch, int64_t wanted_blocks = kWantedBlocks) {
  const TopKParams& call = params.call;
  const int64_t outputs = call.num_images * call.num_points;
  const int64_t cleared = std::max({outputs, call.num_images, call.num_boxes});
  if (cleared == 0) return;
  launch(clear_task_aligned_kernel, divide_up(cleared, kTopKThreads), kTopKThreads, call, last_positive);
  if (outputs == 0) return;
  const int64_t boxes_per_block = clamp(divide_up(call.num_boxes, wanted_blocks), 1, kChooseWarps);
  with_offsets(call, [&](const auto& offsets) {
    constexpr int kCapacity = std::decay_t<decltype(offsets)>::kImages;
    if (call.num_boxes > 0) {
      launch(choose_task_aligned_kernel<kCapacity>, divide_up(call.num_boxes, boxes_per_block),
             32 * kChooseWarps, params, offsets, static_cast<int>(boxes_per_block));
    }
    launch_on_points(params, last_positive, offsets, launch);
  });
}

}  // namespace pseudo_iou_ops
