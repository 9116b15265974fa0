// SimOTA and dynamic soft labels on a GPU. The boxes mark their image's valid points; the classes of these
// are added up; each box, before a block of its own, counts how many points it takes and claims the cheapest;
// and each point is settled and written by a thread.
//
// A Family is what both devices know (sim_ota.h, soft_label.h), and the cells near a box.
#pragma once

#include "../core/dynamic_k.h"
#include "box_cells.cuh"
#include "top_k.cuh"
#include "warp_best.cuh"

namespace pseudo_iou_ops {

constexpr int kBlockWarps = kTopKThreads / 32;
constexpr int kSummedPoints = kTopKThreads / kPartialSums;  // of a block

// Until a point is written its `score` holds the sum over its classes, or this where no box makes it valid.
// What is not valid is marked in `matched` until then.
constexpr float kNotValid = -1.0f;
constexpr int64_t kNotMarked = -2, kMarked = -1;

PIOU_KERNEL void clear_dynamic_k_kernel(const PIOU_GRID_CONSTANT TopKParams params) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kTopKThreads + threadIdx.x;
  clear_top_k(params, index);
  if (index < params.num_images * params.num_points) params.matched[index] = kNotMarked;
}

// The point of a cell.
struct CellPoint {
  HeadPoint at;
  int64_t output;
  float x, y;

  PIOU_DEVICE CellPoint(const TopKParams& params, int64_t image, const Cell& cell) {
    const Level& level = params.levels[cell.level];
    const int64_t place = static_cast<int64_t>(cell.row) * level.width + cell.column;
    at = {image, level.first_point + place, cell.level};
    output = image * params.num_points + at.point;
    x = point_coordinate(cell.column, params.offset, level.stride);
    y = point_coordinate(cell.row, params.offset, level.stride);
  }
};

// A box's region in the level of this lane.
template <class Family>
PIOU_DEVICE Box region_of_lane(const Family& family, const Box& box, int index) {
  const TopKParams& params = family.call();
  const int level = static_cast<int>(threadIdx.x) % 32 / 2;
  return family.region(box, params.levels[level < params.num_levels ? level : 0].stride, index);
}

// Grid: a warp a box.
template <int kCapacity, class Family, class Params>
PIOU_KERNEL void mark_dynamic_k_kernel(const PIOU_GRID_CONSTANT Params params,
                                       const PIOU_GRID_CONSTANT OffsetsOfCall<kCapacity> offsets) {
  const Family family(params);
  const TopKParams& call = family.call();
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kBlockWarps + threadIdx.x / 32;
  if (row >= call.num_boxes) return;
  const Box box = load_box(call.boxes, row);
  if (!is_valid(box)) return;
  const Team warp{static_cast<int>(threadIdx.x) % 32, 32};
  visit_owners(call, offsets.boxes, row, [&](int image) {
    for (int index = 0; index < Family::kRegions; ++index) {
      const Box region = region_of_lane(family, box, index);
      const AxisCells cells = axis_cells(call, image, region, 0.0f, false);
      visit_cells(call.num_levels, cells, warp, [&](const Cell& cell, bool is_cell) {
        if (is_cell) raise_claim(call.matched + CellPoint(call, image, cell).output, kMarked);
      });
    }
  });
}

// Adds up the classes of the valid points, as many threads a point as partial sums. Grid: so many points a
// block, of the first image, of the second, and so on. Neighbours read what lies side by side.
template <class Family, class Params>
PIOU_KERNEL void sum_dynamic_k_kernel(const PIOU_GRID_CONSTANT Params params, int64_t blocks_per_image) {
  PIOU_SHARED_ARRAY(float, sums, kPartialSums*(kSummedPoints + 1));
  const Family family(params);
  const TopKParams& call = family.call();
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t image = blockIdx.x / blocks_per_image, first = blockIdx.x % blocks_per_image * kSummedPoints;
  const Head& scores = family.predictions().scores;
  const bool channels_last = head_level(scores, point_of_image(call, first).level).channels_last;
  const int index = channels_last ? thread / kPartialSums : thread % kSummedPoints;
  const int part = channels_last ? thread % kPartialSums : thread / kSummedPoints;
  const int64_t point = first + index, output = image * call.num_points + point;
  float sum = 0.0f;
  if (point < call.num_points && call.matched[output] == kMarked) {
    const HeadPoint at{image, point, point_of_image(call, point).level};
    const float objectness = family.objectness(at);
    for (int64_t label = part; label < scores.num_channels; label += kPartialSums) {
      sum = sum + family.absence(read_score(family.predictions(), at, label), objectness);
    }
  }
  sums[part * (kSummedPoints + 1) + index] = sum;
  __syncthreads();
  if (thread >= kSummedPoints || first + thread >= call.num_points) return;
  const auto partial = [&](int number) { return sums[number * (kSummedPoints + 1) + thread]; };
  const int64_t written = image * call.num_points + first + thread;
  call.score[written] = call.matched[written] == kMarked
                            ? ((partial(0) + partial(1)) + (partial(2) + partial(3))) +
                                  ((partial(4) + partial(5)) + (partial(6) + partial(7)))
                            : kNotValid;
}

// What the threads of a block tell each other about its box.
struct Shared {
  KeysOfWarp lists[kBlockWarps];
  float overlaps[kMaxK];
  bool is_done;
};

// The key of WarpBest for a point, the larger the better: of equal numbers the lower point is.
PIOU_DEVICE uint64_t point_key(uint32_t number, int64_t point) {
  return static_cast<uint64_t>(number) << 32 | (0xffffffffu - static_cast<uint32_t>(point));
}

PIOU_DEVICE uint32_t number_of_key(uint64_t key) { return static_cast<uint32_t>(key >> 32); }

// A box in one of the images that own it, and its block.
template <class Family>
struct Seeker {
  const Family& family;
  Shared& shared;
  int64_t image, row;
  Box box;

  PIOU_DEVICE Box prediction(const CellPoint& point) const {
    return predicted_box(family.predictions(), point.at, point.x, point.y);
  }

  // Gives every valid point among the cells to the best of each warp, then those of all to the first warp's.
  // key_of(point, sum, best) is 0 for one that cannot be among them.
  template <class KeyOf>
  PIOU_DEVICE WarpBest find_best(int count, const AxisCells& cells, const KeyOf& key_of) const {
    const TopKParams& call = family.call();
    WarpBest best{count};
    const Team block{static_cast<int>(threadIdx.x), kTopKThreads};
    visit_cells(call.num_levels, cells, block, [&](const Cell& cell, bool is_cell) {
      uint64_t key = 0;
      if (is_cell) {
        const CellPoint point(call, image, cell);
        const float sum = call.score[point.output];
        if (sum >= 0.0f) key = key_of(point, sum, best);
      }
      best.offer(key);
    });
    merge_best(best, shared.lists, kBlockWarps);
    return best;
  }

  PIOU_DEVICE AxisCells all_cells() const { return axis_cells(family.call(), image, box, 0.0f, true); }

  // How many points the box takes. Overlaps of 0 add nothing.
  PIOU_DEVICE int count_points() const {
    const WarpBest best = find_best(family.top_ious(), all_cells(),
                                    [&](const CellPoint& point, float, const WarpBest&) -> uint64_t {
                                      const float overlap = overlap_of(prediction(point), box);
                                      return overlap > 0.0f ? point_key(bits_of(overlap), point.at.point) : 0;
                                    });
    if (threadIdx.x < kMaxK) shared.overlaps[threadIdx.x] = float_of(number_of_key(best.key));
    __syncthreads();
    return dynamic_count(shared.overlaps, family.top_ious());
  }

  // Every part of a cost is at least 0, and rounding keeps that order: what is already too expensive without
  // a part need not know it.
  PIOU_DEVICE uint64_t cheapness(const CellPoint& point, float sum, const WarpBest& best) const {
    const PointPrior prior = family.prior(box, point.at.level, point.x, point.y);
    if (!prior.is_own && number_of_key(best.least_best) >= 0x80000000u) return 0;
    const float overlap = overlap_of(prediction(point), box);
    const auto key = [&](float classes) {
      return point_key(0xffffffffu - cost_key(prior.is_own, family.cost(classes, overlap, prior)),
                       point.at.point);
    };
    if (key(0.0f) <= best.least_best) return 0;
    const ClassTerms own = family.class_terms(point.at, row, overlap);
    return key(class_cost(sum, own));
  }

  // The first warp gets the cheapest points. Those near the box are all, if no other can be as cheap.
  PIOU_DEVICE WarpBest find_cheapest(int count) const {
    const auto key_of = [&](const CellPoint& point, float sum, const WarpBest& best) {
      return cheapness(point, sum, best);
    };
    const WarpBest near = find_best(count, family.near_cells(image, box), key_of);
    if (threadIdx.x == 0) {
      shared.is_done =
          near.least_best != 0 && 0xffffffffu - number_of_key(near.least_best) < family.least_key_elsewhere();
    }
    __syncthreads();
    return shared.is_done ? near : find_best(count, all_cells(), key_of);
  }

  // Each lane of the first warp claims one of the cheapest points.
  PIOU_DEVICE void claim(const WarpBest& cheapest) const {
    const TopKParams& call = family.call();
    if (static_cast<int>(threadIdx.x) >= cheapest.k || cheapest.key == 0) return;
    const int64_t output =
        image * call.num_points + (0xffffffffu - static_cast<uint32_t>(cheapest.key & 0xffffffffu));
    raise_claim(call.matched + output, claim_of_key(0xffffffffu - number_of_key(cheapest.key), row));
    add_to_count(call.matched_labels + output, 1);
  }
};

// Grid: a block a box.
template <int kCapacity, class Family, class Params>
PIOU_KERNEL void choose_dynamic_k_kernel(const PIOU_GRID_CONSTANT Params params,
                                         const PIOU_GRID_CONSTANT OffsetsOfCall<kCapacity> offsets) {
  PIOU_SHARED_ARRAY(Shared, shared, 1);
  const Family family(params);
  const TopKParams& call = family.call();
  const int64_t row = blockIdx.x;
  const Box box = load_box(call.boxes, row);
  if (!is_valid(box)) return;
  visit_owners(call, offsets.boxes, row, [&](int image) {
    const Seeker<Family> seeker{family, *shared, image, row, box};
    const WarpBest cheapest = seeker.find_cheapest(seeker.count_points());
    seeker.claim(cheapest);
  });
}

// The strongest claim to a point of all boxes of its image; all lanes of a warp look for it.
template <class Family>
PIOU_DEVICE int64_t strongest_of_all(const Family& family, const Rows& rows, const HeadPoint& at,
                                     const PointOfImage& place, float sum) {
  const TopKParams& call = family.call();
  const Box prediction = predicted_box(family.predictions(), at, place.x, place.y);
  int64_t strongest = kBackground;
  for (int64_t row = rows.begin + static_cast<int64_t>(threadIdx.x % 32); row < rows.end; row += 32) {
    const Box box = load_box(call.boxes, row);
    if (!is_valid(box)) continue;
    const PointPrior prior = family.prior(box, place.level, place.x, place.y);
    const float overlap = overlap_of(prediction, box);
    const auto claim = [&](float classes) {
      return claim_of_key(cost_key(prior.is_own, family.cost(classes, overlap, prior)), row);
    };
    if (claim(0.0f) <= strongest) continue;
    const int64_t own = claim(class_cost(sum, family.class_terms(at, row, overlap)));
    if (own > strongest) strongest = own;
  }
  return strongest_of_warp(strongest);
}

// The claim of the box that a point goes to, below 0 if none chose it. Called by whole warps, whose lanes
// have neighbouring points of an image, or none beyond the last.
template <int kCapacity, class Family>
PIOU_DEVICE int64_t settled_claim(const Family& family, const ImageOffsets<kCapacity>& offsets,
                                  const PointThread& here) {
  const TopKParams& call = family.call();
  int64_t claim = here.is_point ? call.matched[here.output] : kBackground;
  const bool is_contested = here.is_point && call.matched_labels[here.output] > kBackground + 1;
  const float sum = is_contested ? call.score[here.output] : 0.0f;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (unsigned rest = __ballot_sync(kWholeWarp, is_contested); rest != 0; rest &= rest - 1) {
    const int source = __ffs(static_cast<int>(rest)) - 1;
    const float its_sum = __shfl_sync(kWholeWarp, sum, source);
    const int64_t point = here.point - lane + source;
    const PointOfImage place = point_of_image(call, point);
    const Rows rows = offsets.rows(here.image, call.num_boxes);
    const int64_t strongest =
        strongest_of_all(family, rows, {here.image, point, place.level}, place, its_sum);
    if (lane == source) claim = strongest;
  }
  return claim;
}

// Grid: as of PointThread.
template <int kCapacity, class Family, class Params>
PIOU_KERNEL void write_dynamic_k_kernel(const PIOU_GRID_CONSTANT Params params,
                                        const PIOU_GRID_CONSTANT OffsetsOfCall<kCapacity> offsets,
                                        int64_t blocks_per_image) {
  const Family family(params);
  const TopKParams& call = family.call();
  const PointThread here(call, blocks_per_image);
  const int64_t claim = settled_claim(family, offsets.boxes, here);
  const bool is_positive = claim >= 0;
  if (here.is_point) {
    const PointOfImage place = point_of_image(call, here.point);
    if (is_positive) {
      const int64_t row = row_of_key_claim(claim);
      const HeadPoint at{here.image, here.point, place.level};
      const Box prediction = predicted_box(family.predictions(), at, place.x, place.y);
      const float overlap = overlap_of(prediction, load_box(call.boxes, row));
      write_box(call, here.output, place, claim_of(overlap, row), overlap);
    } else {
      write_unclaimed(call, offsets.regions, here.image, here.output, place);
    }
  }
  count_positives(call, here.image, is_positive);
}

// Calls launch(kernel, blocks, threads, arguments...) for each kernel of a call.
template <class Family, class Params, class Launch>
void launch_dynamic_k_kernels(const Params& params, const Launch& launch) {
  const TopKParams& call = params.call;
  const int64_t outputs = call.num_images * call.num_points;
  const int64_t cleared = std::max({outputs, call.num_images, call.num_boxes});
  if (cleared == 0) return;
  launch(clear_dynamic_k_kernel, divide_up(cleared, kTopKThreads), kTopKThreads, call);
  if (outputs == 0) return;
  with_offsets(call, [&](const auto& offsets) {
    constexpr int kCapacity = std::decay_t<decltype(offsets)>::kImages;
    if (call.num_boxes > 0) {
      launch(mark_dynamic_k_kernel<kCapacity, Family, Params>, divide_up(call.num_boxes, kBlockWarps),
             kTopKThreads, params, offsets);
      const int64_t sum_blocks = divide_up(call.num_points, kSummedPoints);
      launch(sum_dynamic_k_kernel<Family, Params>, sum_blocks * call.num_images, kTopKThreads, params,
             sum_blocks);
      launch(choose_dynamic_k_kernel<kCapacity, Family, Params>, call.num_boxes, kTopKThreads, params,
             offsets);
    }
    const int64_t blocks_per_image = divide_up(call.num_points, kTopKThreads);
    launch(write_dynamic_k_kernel<kCapacity, Family, Params>, blocks_per_image * call.num_images,
           kTopKThreads, params, offsets, blocks_per_image);
  });
}

}  // namespace pseudo_iou_ops
