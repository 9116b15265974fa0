// The assignment on a GPU, one launch for all levels and images. A block owns a tile of one level of one
// image, a warp a patch of the tile. Boxes are sifted for those that can hold a point, in the order of their
// rows: by the block for its tile where an image has many, and by each warp for its patch. Each thread then
// walks what is left for its own points, one above the other.
#pragma once

#include <algorithm>
#include <limits>
#include <type_traits>

#include "../core/candidates.h"
#include "cuda.h"

namespace pseudo_iou_ops {

// Blocks of 256 threads a multiprocessor: rules that judge every candidate need more registers.
#ifndef PSEUDO_IOU_OPS_ASSIGN_BLOCKS_PER_PROCESSOR
#define PSEUDO_IOU_OPS_ASSIGN_BLOCKS_PER_PROCESSOR 5
#endif
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kMaxImagesPerLaunch = 65535;  // the most blocks that CUDA takes in y
constexpr unsigned kFullWarp = 0xffffffffu;
constexpr int kWarpSize = 32;
constexpr int kPatchWidth = 8;                      // a warp's lanes are 8 x 4 points
constexpr int kLaneRows = kWarpSize / kPatchWidth;  // a thread's points lie so many rows apart
constexpr int kTileWidth = 32, kTileHeight = 16;    // in points
constexpr int kPatchesAcross = kTileWidth / kPatchWidth;
constexpr int kTests = 4;        // boxes that a thread tests in one strip
constexpr int kFewBoxes = 64;    // of an image at the most, for each warp to sift them alone
constexpr int kSmallBatch = 64;  // images with a small table of offsets, as parameters cost time
template <int kPoints>           // each
constexpr int kThreads = kTileWidth * kTileHeight / kPoints;

// Two points a thread share the work that is done once a warp. Where boxes are many that work is small beside
// the walks, and one a thread has twice as many warps to hide latency. A build can name one number, to
// measure.
#ifdef PSEUDO_IOU_OPS_POINTS_PER_THREAD
constexpr int kPointsWhereFew = PSEUDO_IOU_OPS_POINTS_PER_THREAD, kPointsWhereMany = kPointsWhereFew;
#else
constexpr int kPointsWhereFew = 2, kPointsWhereMany = 1;
#endif
// The host decides by the rows of `boxes`, all that it knows: for a buffer that a CUDA graph refills, by the
// room in it. How an image is sifted is decided on the device, by the boxes it has.
inline bool is_crowded(const AssignParams& params) {
  return params.num_boxes > kFewBoxes * params.num_images;
}

// The offsets of one launch. Those that live on the host travel by value.
template <int kCapacity>
struct Offsets {
  const int64_t* device;  // null: by value
  int values[kCapacity + 1];

  PIOU_DEVICE Rows rows(unsigned image, int64_t num_boxes) const {
    if (device != nullptr) return image_rows(device, image, num_boxes);
    return {values[image], values[image + 1] < values[image] ? values[image] : values[image + 1]};
  }
};

// What a launch adds to the parameters of the call.
template <int kCapacity>
struct LaunchTable {
  Offsets<kCapacity> boxes, regions;
  unsigned first_image;            // of the launch
  int first_tile[kMaxLevels + 1];  // of each level among the tiles of an image; then their number
  int tiles_across[kMaxLevels];
};

PIOU_DEVICE void add_to_counter(int64_t* counter, int count) {
  atomicAdd(reinterpret_cast<unsigned long long*>(counter), static_cast<unsigned long long>(count));
}

// The rectangle between the outermost points of a tile or a patch, which may reach past the level's edge.
struct Bounds {
  float first_x, last_x, first_y, last_y;
};

// Whether a box can hold a point in range: the distance to the farthest side lies between half the longer
// side and the longer side. Points rise along an axis, so a box that misses the outermost ones misses all.
PIOU_DEVICE bool reaches(const Box& box, const Bounds& bounds, float low, float high) {
  const float side = larger(width(box), height(box));
  return is_valid(box) && side >= low && side / 2.0f <= high && bounds.last_x > box.x1 &&
         bounds.first_x < box.x2 && bounds.last_y > box.y1 && bounds.first_y < box.y2;
}

// Where a thread is, and its points, one above the other. Those past the level's edge stay in for the
// barriers.
struct Place {
  unsigned image, lane, warp;
  Level level;
  float offset;
  int tile_row = 0, tile_column = 0, patch_row = 0, patch_column = 0;

  PIOU_DEVICE int row(int p) const {
    return patch_row + static_cast<int>(lane / kPatchWidth) + p * kLaneRows;
  }
  PIOU_DEVICE int column() const { return patch_column + static_cast<int>(lane % kPatchWidth); }
  PIOU_DEVICE bool has_points() const { return patch_row < level.height && patch_column < level.width; }
  PIOU_DEVICE Bounds bounds(int first_row, int rows, int first_column, int columns) const {
    const auto point = [&](int cell) { return point_coordinate(cell, offset, level.stride); };
    return {point(first_column), point(first_column + columns - 1), point(first_row),
            point(first_row + rows - 1)};
  }
};

template <int kPoints, int kCapacity>
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

// Lists those rows of [strip, strip + kTests * threads) below `end` that keep(row), in their order, and
// returns how many. For whole blocks; the list may be read until the next call.
template <int kPoints, class Keep>
PIOU_DEVICE int list_strip(const Place& place, int* listed, unsigned strip, unsigned end, const Keep& keep) {
  constexpr int kWarps = kThreads<kPoints> / kWarpSize;
  const unsigned first = strip + place.warp * kTests * kWarpSize;
  int* warp_counts = listed + kTests * kThreads<kPoints>;
  unsigned kept[kTests] = {};
  int count = 0;
  if (first < end) {
    PIOU_UNROLL
    for (int test = 0; test < kTests; ++test) {
      const unsigned row = first + test * kWarpSize + place.lane;
      kept[test] = __ballot_sync(kFullWarp, row < end && keep(row));
      count += __popc(kept[test]);
    }
  }
  if (place.lane == 0) warp_counts[place.warp] = count;
  __syncthreads();
  int slot = 0, total = 0;
  PIOU_UNROLL
  for (unsigned warp = 0; warp < kWarps; ++warp) {
    if (warp == place.warp) slot = total;
    total += warp_counts[warp];
  }
  PIOU_UNROLL
  for (int test = 0; test < kTests; ++test) {
    const unsigned own = 1u << place.lane;
    if (kept[test] & own) {
      listed[slot + __popc(kept[test] & (own - 1))] = static_cast<int>(first + test * kWarpSize + place.lane);
    }
    slot += __popc(kept[test]);
  }
  __syncthreads();
  return total;
}

// Calls visit(box, row) for the boxes that can hold a point of the warp's patch in the range.
template <int kPoints, class Visit>
PIOU_DEVICE void for_boxes_of_patch(const Place& place, int* listed, const float* boxes, const Rows& rows,
                                    float low, float high, const Visit& visit) {
  const float* first_box = boxes + 4 * static_cast<int64_t>(rows.begin);
  const unsigned end = rows.end - rows.begin;  // unsigned, as a step past the last row must fit
  const bool is_listed = end > kFewBoxes;
  const auto row_at = [&](unsigned entry) -> unsigned { return is_listed ? listed[entry] : entry; };
  const auto keeps = [&](unsigned row, const Bounds& bounds) {
    return reaches(load_box(first_box, row), bounds, low, high);
  };
  const Bounds patch = place.bounds(place.patch_row, kLaneRows * kPoints, place.patch_column, kPatchWidth);
  const unsigned step = is_listed ? kTests * kThreads<kPoints> : kFewBoxes;
  for (unsigned strip = 0; strip < end; strip += step) {
    unsigned count = end;
    if (is_listed) {
      const Bounds tile = place.bounds(place.tile_row, kTileHeight, place.tile_column, kTileWidth);
      const auto keeps_row = [&](unsigned row) { return keeps(row, tile); };
      count = list_strip<kPoints>(place, listed, strip, end, keeps_row);
    }
    if (!place.has_points()) continue;
    for (unsigned first = 0; first < count; first += kWarpSize) {
      const unsigned entry = first + place.lane;
      unsigned kept = __ballot_sync(kFullWarp, entry < count && keeps(row_at(entry), patch));
      for (; kept != 0; kept &= kept - 1) {
        const unsigned row = row_at(first + __ffs(static_cast<int>(kept)) - 1);
        visit(load_box(first_box, row), static_cast<int>(row));
      }
    }
  }
}

// A thread's points and what they choose.
template <int kPoints>
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
template <bool kJudgesEveryCandidate, int kPoints>
PIOU_DEVICE void walk_boxes(const AssignParams& params, const Place& place, int* listed, const Rows& rows,
                            ThreadPoints<kPoints>& points) {
  const Level& level = place.level;
  const auto visit = [&](const Box& box, int row) {
    PIOU_UNROLL
    for (int p = 0; p < kPoints; ++p) {
      const Distances d = distances(box, points.x, points.y[p]);
      Choice& choice = points.choices[p];
      if (!is_inside(d) || !in_range(level, longest(d))) continue;
      if (kJudgesEveryCandidate) {
        offer(choice, params.rule, {level.stride, box, points.x, points.y[p], d}, row);
      } else if (area(box) < choice.area) {
        choice.row = row;
        choice.area = area(box);
      }
    }
  };
  for_boxes_of_patch<kPoints>(place, listed, params.boxes, rows, level.low, level.high, visit);
}

// Finds out which points a region of the image covers.
template <int kPoints>
PIOU_DEVICE void walk_regions(const AssignParams& params, const Place& place, int* listed, const Rows& rows,
                              ThreadPoints<kPoints>& points) {
  const auto visit = [&](const Box& region, int) {
    PIOU_UNROLL
    for (int p = 0; p < kPoints; ++p) {
      points.in_region[p] |= is_inside(distances(region, points.x, points.y[p]));
    }
  };
  for_boxes_of_patch<kPoints>(place, listed, params.ignore_boxes, rows, -kInfinity, kInfinity, visit);
}

// One point's outputs, written once.
struct PointOutputs {
  int64_t matched = kBackground;
  int64_t label = kBackground;
  Distances ltrb{0.0f, 0.0f, 0.0f, 0.0f};
  float pseudo_iou = 0.0f;
  float centerness = 0.0f;
};

PIOU_DEVICE PointOutputs decide(const AssignParams& params, const Level& level, int64_t image,
                                const Rows& rows, float x, float y, const Choice& choice, bool in_region) {
  PointOutputs outputs;
  int64_t verdict = choice.in_ignore_band || in_region ? kIgnored : kBackground;
  if (is_padding(params.valid_sizes, image, x, y)) {
    verdict = kIgnored;
  } else if (choice.row >= 0) {
    const int64_t row = rows.begin + choice.row;
    const Box box = load_box(params.boxes, row);
    const Distances d = distances(box, x, y);
    const PointInBox point{level.stride, box, x, y, d};
    const float point_iou = pseudo_iou(d), point_centerness = centerness(d);
    const float quality = written_quality(params.rule.metric, point_iou, point_centerness);
    if (is_positive(params.rule, point, quality)) {
      outputs.matched = row;
      outputs.label = params.labels[row];
      outputs.ltrb = d;
      if (params.rule.normalize_by_stride) {
        const float unit = level.stride;
        outputs.ltrb = {d.l / unit, d.t / unit, d.r / unit, d.b / unit};
      }
      outputs.pseudo_iou = point_iou;
      outputs.centerness = point_centerness;
      return outputs;
    }
    if (is_in_ignore_band(params.rule, point, quality)) verdict = kIgnored;
  }
  outputs.matched = verdict;
  outputs.label = verdict;
  return outputs;
}

// Adds one point a lane to the counters of its box, -1 for none, and returns how many count: one addition for
// each box of the warp.
PIOU_DEVICE int count_per_box(const AssignParams& params, unsigned lane, int row) {
  const unsigned positives = __ballot_sync(kFullWarp, row >= 0);
  if (positives == 0) return 0;
  const unsigned same_box = __match_any_sync(kFullWarp, row);
  const bool is_first = (same_box & ((1u << lane) - 1)) == 0;
  if (row >= 0 && is_first) add_to_counter(params.pos_per_box + row, __popc(same_box));
  return __popc(positives);
}

template <int kPoints>
PIOU_DEVICE void write_points(const AssignParams& params, const Place& place, const Rows& rows,
                              const ThreadPoints<kPoints>& points) {
  const int64_t width = place.level.width;
  const int64_t first_output =
      place.image * params.num_points + place.level.first_point + place.row(0) * width + place.column();
  int positives = 0;
  PIOU_UNROLL
  for (int p = 0; p < kPoints; ++p) {
    int matched = -1;
    if (place.row(p) < place.level.height && place.column() < width) {
      const PointOutputs outputs = decide(params, place.level, place.image, rows, points.x, points.y[p],
                                          points.choices[p], points.in_region[p]);
      const int64_t output = first_output + p * kLaneRows * width;
      const Distances& d = outputs.ltrb;
      params.matched[output] = outputs.matched;
      params.matched_labels[output] = outputs.label;
      reinterpret_cast<float4*>(params.ltrb)[output] = make_float4(d.l, d.t, d.r, d.b);
      params.pseudo_iou[output] = outputs.pseudo_iou;
      params.centerness[output] = outputs.centerness;
      if (outputs.matched >= 0) matched = static_cast<int>(outputs.matched);
    }
    positives += count_per_box(params, place.lane, matched);
  }
  if (place.lane == 0 && positives != 0) add_to_counter(params.num_pos + place.image, positives);
}

// Grid: the tiles of an image by the images. Blocks share integer counters alone.
template <bool kJudges, int kPoints, int kCapacity>
PIOU_KERNEL void PIOU_EXACT_LAUNCH_BOUNDS(kThreads<kPoints>,
                                          PIOU_BLOCKS(PSEUDO_IOU_OPS_ASSIGN_BLOCKS_PER_PROCESSOR - kJudges,
                                                      kJudges&& kPoints > 1) *
                                              256 / kThreads<kPoints>)
    assign_kernel(const PIOU_GRID_CONSTANT AssignParams params,
                  const PIOU_GRID_CONSTANT LaunchTable<kCapacity> table) {
  PIOU_SHARED_ARRAY(int, listed, kTests* kThreads<kPoints> + kThreads<kPoints> / kWarpSize);
  const Place place = place_of_thread<kPoints>(params, table);
  ThreadPoints<kPoints> points(place);
  const Rows rows = table.boxes.rows(place.image, params.num_boxes);
  walk_boxes<kJudges>(params, place, listed, rows, points);
  if (params.ignore_boxes != nullptr) {
    walk_regions(params, place, listed, table.regions.rows(place.image, params.num_ignore_boxes), points);
  }
  if (place.has_points()) write_points(params, place, rows, points);
}

template <int kCapacity>
Offsets<kCapacity> make_offsets(const int64_t* offsets, bool on_host, int64_t num_images, int64_t num_boxes) {
  Offsets<kCapacity> made;
  made.device = on_host ? nullptr : offsets;
  for (int64_t entry = 0; on_host && entry <= num_images; ++entry) {
    made.values[entry] = static_cast<int>(clamp(offsets[entry], 0, num_boxes));
  }
  return made;
}

template <int kCapacity>
LaunchTable<kCapacity> make_table(const AssignParams& params) {
  LaunchTable<kCapacity> table;
  table.boxes =
      make_offsets<kCapacity>(params.offsets, params.offsets_on_host, params.num_images, params.num_boxes);
  table.regions = make_offsets<kCapacity>(params.ignore_offsets, params.ignore_offsets_on_host,
                                          params.num_images, params.num_ignore_boxes);
  table.first_tile[0] = 0;
  for (int index = 0; index < params.num_levels; ++index) {
    table.tiles_across[index] = static_cast<int>(divide_up(params.levels[index].width, kTileWidth));
    const int tiles =
        table.tiles_across[index] * static_cast<int>(divide_up(params.levels[index].height, kTileHeight));
    table.first_tile[index + 1] = table.first_tile[index] + tiles;
  }
  return table;
}

template <int kCapacity, class Launch>
void launch_with_table(const AssignParams& params, bool is_crowded, int64_t most_images,
                       const Launch& launch) {
  LaunchTable<kCapacity> table = make_table<kCapacity>(params);
  const auto start = [&](auto points) {
    constexpr int kPoints = decltype(points)::value;
    const auto kernel = params.rule.judges_every_candidate() ? assign_kernel<true, kPoints, kCapacity>
                                                             : assign_kernel<false, kPoints, kCapacity>;
    for (int64_t first = 0; first < params.num_images; first += most_images) {
      table.first_image = static_cast<unsigned>(first);
      launch(kernel, table, table.first_tile[params.num_levels],
             static_cast<int>(std::min(most_images, params.num_images - first)), kThreads<kPoints>);
    }
  };
  if (is_crowded) return start(std::integral_constant<int, kPointsWhereMany>());
  start(std::integral_constant<int, kPointsWhereFew>());
}

// Calls launch(kernel, table, tiles, images, threads), once for all images that a grid can hold, if there are
// points.
template <class Launch>
void launch_chosen_kernel(const AssignParams& params, bool is_crowded, int64_t most_images,
                          const Launch& launch) {
  if (params.num_points == 0) return;
  const bool by_value = params.offsets_on_host || params.ignore_offsets_on_host;
  if (by_value && params.num_images > kSmallBatch) {
    launch_with_table<kMaxImagesByValue>(params, is_crowded, most_images, launch);
  } else {
    launch_with_table<kSmallBatch>(params, is_crowded, most_images, launch);
  }
}

}  // namespace pseudo_iou_ops
