// The assignment on a GPU, one launch for all levels and images: each thread walks the boxes that the sift
// leaves for its own points, one above the other.
#pragma once

#include <algorithm>

#include "assign_sift.cuh"
#include "image_offsets.cuh"

namespace pseudo_iou_ops {

// Blocks of 256 threads a multiprocessor: rules that judge every candidate need more registers.
#ifndef PSEUDO_IOU_OPS_ASSIGN_BLOCKS_PER_PROCESSOR
#define PSEUDO_IOU_OPS_ASSIGN_BLOCKS_PER_PROCESSOR 5
#endif
constexpr int64_t kMaxImagesPerLaunch = 65535;  // the most blocks that CUDA takes in y

// What a launch adds to the parameters of the call.
template <int kCapacity>
struct LaunchTable {
  OffsetsOfCall<kCapacity> offsets;
  unsigned first_image;            // of the launch
  int first_tile[kMaxLevels + 1];  // of each level among the tiles of an image; then their number
  int tiles_across[kMaxLevels];
};

template <int kCapacity>
PIOU_DEVICE Place place_of_thread(const AssignParams& params, const LaunchTable<kCapacity>& table) {
  const int tile = static_cast<int>(blockIdx.x);
  const unsigned lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
  int index = 0;
  while (tile >= table.first_tile[index + 1]) ++index;
  const unsigned within = tile - table.first_tile[index], across = table.tiles_across[index];
  Place place{table.first_image + blockIdx.y, lane, warp, params.levels[index], params.offset};
  place.tile_row = static_cast<int>(within / across * kTileHeight);
  place.tile_column = static_cast<int>(within % across * kTileWidth);
  place.patch_row = place.tile_row + static_cast<int>(warp / kPatchesAcross * kLaneRows * kPoints);
  place.patch_column = place.tile_column + static_cast<int>(warp % kPatchesAcross * kPatchWidth);
  return place;
}

// A thread's points and what they choose.
struct ThreadPoints {
  float x, y[kPoints];
  Choice choices[kPoints];
  bool in_region[kPoints];

  PIOU_DEVICE explicit ThreadPoints(const Place& place) : in_region{} {
    x = point_coordinate(place.column(), place.offset, place.level.stride);
    PIOU_UNROLL
    for (int p = 0; p < kPoints; ++p) {
      y[p] = point_coordinate(place.row(p), place.offset, place.level.stride);
      choices[p].area = kInfinity;  // a valid box has less
    }
  }
};

// Offers every box of the image to the points it holds in range.
template <bool kJudgesEveryCandidate>
PIOU_DEVICE void walk_boxes(const AssignParams& params, const Place& place, const Board& board,
                            const Rows& rows, ThreadPoints& points) {
  const auto visit = [&](const Box& box, const int& row) {
    PIOU_UNROLL
    for (int p = 0; p < kPoints; ++p) {
      const float x = points.x, y = points.y[p];
      if (is_outside(box, x, y)) continue;
      if (!in_range(place.level, longest(distances(box, x, y)))) continue;
      Choice& choice = points.choices[p];
      if (kJudgesEveryCandidate) {
        offer(choice, params.rule, {place.level.stride, box, x, y, distances(box, x, y)}, row);
      } else if (area(box) < choice.area) {
        choice.row = row;
        choice.area = area(box);
      }
    }
  };
  for_boxes_of_patch(place, board, params.boxes, rows, SideRange(place.level.low, place.level.high), visit);
}

// Finds out which points a region of the image covers.
PIOU_DEVICE void walk_regions(const AssignParams& params, const Place& place, const Board& board,
                              const Rows& rows, ThreadPoints& points) {
  const auto visit = [&](const Box& region, const int&) {
    PIOU_UNROLL
    for (int p = 0; p < kPoints; ++p) {
      points.in_region[p] |= !is_outside(region, points.x, points.y[p]);
    }
  };
  for_boxes_of_patch(place, board, params.ignore_boxes, rows, SideRange(-kInfinity, kInfinity), visit);
}

// One point's outputs, written once.
struct PointOutputs {
  int matched = static_cast<int>(kBackground);
  int64_t label = kBackground;
  Distances ltrb{0.0f, 0.0f, 0.0f, 0.0f};
  float pseudo_iou = 0.0f;
  float centerness = 0.0f;
};

PIOU_DEVICE PointOutputs decide(const AssignParams& params, const Level& level, int64_t image, float x,
                                float y, const Choice& choice, bool in_region) {
  PointOutputs outputs;
  int verdict = static_cast<int>(choice.in_ignore_band || in_region ? kIgnored : kBackground);
  if (is_padding(params.valid_sizes, image, x, y)) {
    verdict = static_cast<int>(kIgnored);
  } else if (choice.row >= 0) {
    const Box box = load_aligned(params.boxes, choice.row);
    const Distances d = distances(box, x, y);
    const PointInBox point{level.stride, box, x, y, d};
    const float point_iou = pseudo_iou(d), point_centerness = centerness(d);
    const float quality = written_quality(params.rule.metric, point_iou, point_centerness);
    if (is_positive(params.rule, point, quality)) {
      outputs.matched = choice.row;
      outputs.label = params.labels[choice.row];
      outputs.ltrb = d;
      if (params.rule.normalize_by_stride) {
        const float unit = level.stride;
        outputs.ltrb = {d.l / unit, d.t / unit, d.r / unit, d.b / unit};
      }
      outputs.pseudo_iou = point_iou;
      outputs.centerness = point_centerness;
      return outputs;
    }
    if (is_in_ignore_band(params.rule, point, quality)) verdict = static_cast<int>(kIgnored);
  }
  outputs.matched = verdict;
  outputs.label = verdict;
  return outputs;
}

// Adds one point a lane to the counters of its box, -1 for none, and returns how many count: one addition for
// each box of the warp.
PIOU_DEVICE int count_per_box(const AssignParams& params, unsigned lane, int row) {
  const unsigned positives = __ballot_sync(kWholeWarp, row >= 0);
  if (positives == 0) return 0;
  const unsigned same_box = __match_any_sync(kWholeWarp, row);
  const bool is_first = __ffs(static_cast<int>(same_box)) - 1 == static_cast<int>(lane);
  if (row >= 0 && is_first) add_to_count(params.pos_per_box + row, __popc(same_box));
  return __popc(positives);
}

PIOU_DEVICE void write_points(const AssignParams& params, const Place& place, const ThreadPoints& points) {
  const int64_t width = place.level.width;
  const int64_t first_output =
      place.image * params.num_points + place.level.first_point + place.row(0) * width + place.column();
  int matched[kPoints];
  PIOU_UNROLL
  for (int p = 0; p < kPoints; ++p) matched[p] = -1;
  if (place.column() < width) {
    PIOU_UNROLL
    for (int p = 0; p < kPoints && place.row(p) < place.level.height; ++p) {
      const PointOutputs outputs = decide(params, place.level, place.image, points.x, points.y[p],
                                          points.choices[p], points.in_region[p]);
      const int64_t output = first_output + p * kLaneRows * width;
      const Distances& d = outputs.ltrb;
      params.matched[output] = outputs.matched;
      params.matched_labels[output] = outputs.label;
      reinterpret_cast<float4*>(params.ltrb)[output] = make_float4(d.l, d.t, d.r, d.b);
      params.pseudo_iou[output] = outputs.pseudo_iou;
      params.centerness[output] = outputs.centerness;
      matched[p] = outputs.matched;
    }
  }
  int positives = 0;
  PIOU_UNROLL
  for (int p = 0; p < kPoints; ++p) positives += count_per_box(params, place.lane, matched[p]);
  if (place.lane == 0 && positives != 0) add_to_count(params.num_pos + place.image, positives);
}

// Grid: the tiles of an image by the images. Blocks share integer counters alone.
template <bool kJudges, int kCapacity>
PIOU_KERNEL void PIOU_EXACT_LAUNCH_BOUNDS(kThreads,
                                          PIOU_BLOCKS(PSEUDO_IOU_OPS_ASSIGN_BLOCKS_PER_PROCESSOR - kJudges) *
                                              256 / kThreads)
    assign_kernel(const PIOU_GRID_CONSTANT AssignParams params,
                  const PIOU_GRID_CONSTANT LaunchTable<kCapacity> table) {
  PIOU_SHARED_ARRAY(int, listed_rows, kStrip);
  PIOU_SHARED_ARRAY(WarpCounts, counts, 1);
  PIOU_SHARED_ARRAY(ListedBox, listed_boxes, kThreads);
  const Board board{listed_rows, counts, listed_boxes};
  const Place place = place_of_thread(params, table);
  ThreadPoints points(place);
  const Rows rows = table.offsets.boxes.rows(place.image, params.num_boxes);
  walk_boxes<kJudges>(params, place, board, rows, points);
  if (params.ignore_boxes != nullptr) {
    walk_regions(params, place, board, table.offsets.regions.rows(place.image, params.num_ignore_boxes),
                 points);
  }
  if (place.has_points()) write_points(params, place, points);
}

template <int kCapacity>
LaunchTable<kCapacity> make_table(const AssignParams& params, const OffsetsOfCall<kCapacity>& offsets) {
  LaunchTable<kCapacity> table{};
  table.offsets = offsets;
  for (int index = 0; index < params.num_levels; ++index) {
    const Level& level = params.levels[index];
    table.tiles_across[index] = static_cast<int>(divide_up(level.width, kTileWidth));
    const int tiles = table.tiles_across[index] * static_cast<int>(divide_up(level.height, kTileHeight));
    table.first_tile[index + 1] = table.first_tile[index] + tiles;
  }
  return table;
}

// Calls launch(kernel, table, tiles, images), once for all images that a grid can hold, if there are points.
template <class Launch>
void launch_chosen_kernel(const AssignParams& params, int64_t most_images, const Launch& launch) {
  if (params.num_points == 0) return;
  with_offsets(params, [&](const auto& offsets) {
    constexpr int kCapacity = std::decay_t<decltype(offsets)>::kImages;
    const auto kernel = params.rule.judges_every_candidate() ? assign_kernel<true, kCapacity>
                                                             : assign_kernel<false, kCapacity>;
    LaunchTable<kCapacity> table = make_table(params, offsets);
    for (int64_t first = 0; first < params.num_images; first += most_images) {
      table.first_image = static_cast<unsigned>(first);
      launch(kernel, table, table.first_tile[params.num_levels],
             static_cast<int>(std::min(most_images, params.num_images - first)));
    }
  });
}

}  // namespace pseudo_iou_ops
