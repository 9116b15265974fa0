// The assignment on a GPU, one launch for all levels and images. A block owns a tile of one level of one
// image. Its threads first sift the image's boxes together for those that can hold a point of the tile,
// in the order of their rows; then each thread walks the short list for its own point.
#pragma once

#include "../core/candidates.h"
#include "cuda.h"

namespace pseudo_iou_ops {

constexpr int kTileWidth = 32;
constexpr int kTileHeight = 8;
constexpr int kThreads = kTileWidth * kTileHeight;
constexpr int kWarps = kThreads / 32;
constexpr unsigned kFullWarp = 0xffffffffu;

// Offsets that live on the host travel with the launch.
template <int kCapacity>
struct OffsetTable {
  int64_t offsets[kCapacity + 1];
  int64_t ignore_offsets[kCapacity + 1];
};

// Offsets that live on the device do not.
template <>
struct OffsetTable<0> {};

template <int kCapacity>
PIOU_DEVICE const int64_t* offsets_of(const AssignParams& params, const OffsetTable<kCapacity>& table) {
  return params.offsets != nullptr ? params.offsets : table.offsets;
}

template <int kCapacity>
PIOU_DEVICE const int64_t* ignore_offsets_of(const AssignParams& params,
                                             const OffsetTable<kCapacity>& table) {
  return params.ignore_offsets != nullptr ? params.ignore_offsets : table.ignore_offsets;
}

PIOU_DEVICE const int64_t* offsets_of(const AssignParams& params, const OffsetTable<0>&) {
  return params.offsets;
}

PIOU_DEVICE const int64_t* ignore_offsets_of(const AssignParams& params, const OffsetTable<0>&) {
  return params.ignore_offsets;
}

PIOU_DEVICE void add_count(int64_t* counter, int64_t count) {
  atomicAdd(reinterpret_cast<unsigned long long*>(counter), static_cast<unsigned long long>(count));
}

struct Tile {
  int level;
  int first_row, first_column;
};

PIOU_HOST_DEVICE int64_t tiles_across(const Level& level) {
  return (static_cast<int64_t>(level.width) + kTileWidth - 1) / kTileWidth;
}

PIOU_HOST_DEVICE int64_t tiles_of(const Level& level) {
  return tiles_across(level) * ((static_cast<int64_t>(level.height) + kTileHeight - 1) / kTileHeight);
}

inline int64_t count_tiles(const AssignParams& params) {
  int64_t tiles = 0;
  for (int level = 0; level < params.num_levels; ++level) tiles += tiles_of(params.levels[level]);
  return tiles;
}

PIOU_DEVICE Tile tile_at(const AssignParams& params, int64_t index) {
  int level = 0;
  while (index >= tiles_of(params.levels[level])) {
    index -= tiles_of(params.levels[level]);
    ++level;
  }
  const int64_t across = tiles_across(params.levels[level]);
  return {level, static_cast<int>(index / across) * kTileHeight,
          static_cast<int>(index % across) * kTileWidth};
}

// The rectangle between the outermost points of a tile.
struct TileBounds {
  float first_x, last_x, first_y, last_y;
};

PIOU_DEVICE TileBounds tile_bounds(const AssignParams& params, const Level& level, const Tile& tile) {
  const int last_row =
      (tile.first_row + kTileHeight < level.height ? tile.first_row + kTileHeight : level.height) - 1;
  const int last_column =
      (tile.first_column + kTileWidth < level.width ? tile.first_column + kTileWidth : level.width) - 1;
  return {point_coordinate(tile.first_column, params.offset, level.stride),
          point_coordinate(last_column, params.offset, level.stride),
          point_coordinate(tile.first_row, params.offset, level.stride),
          point_coordinate(last_row, params.offset, level.stride)};
}

// Points rise along an axis, so a box that misses the outermost ones misses all.
PIOU_DEVICE bool reaches(const Box& box, const TileBounds& bounds) {
  return is_valid(box) && bounds.last_x > box.x1 && bounds.first_x < box.x2 && bounds.last_y > box.y1 &&
         bounds.first_y < box.y2;
}

// The boxes of one strip that reach a block's tile, in the order of their rows.
struct Survivors {
  Box* boxes;        // kThreads
  int* rows;         // kThreads, within the image
  int* warp_counts;  // kWarps
};

// Every thread brings one box, or none (keep = false). All threads return the number kept. Ends with a
// barrier; the caller has another one before the next strip.
PIOU_DEVICE int compact(const Survivors& survivors, const Box& box, int row, bool keep) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const unsigned kept_lanes = __ballot_sync(kFullWarp, keep);
  if (lane == 0) survivors.warp_counts[warp] = __popc(kept_lanes);
  __syncthreads();
  int slot = __popc(kept_lanes & ((1u << lane) - 1u)), total = 0;
  for (int w = 0; w < kWarps; ++w) {
    if (w < warp) slot += survivors.warp_counts[w];
    total += survivors.warp_counts[w];
  }
  if (keep) {
    survivors.boxes[slot] = box;
    survivors.rows[slot] = row;
  }
  __syncthreads();
  return total;
}

struct Point {
  float x, y;
  bool exists;  // threads past the level's edge stay in for the barriers
};

// Offers every box of the image that holds the point in range.
template <bool kJudgesEveryCandidate>
PIOU_DEVICE void walk_boxes(const AssignParams& params, const Level& level, const TileBounds& bounds,
                            const Rows& rows, const Point& point, const Survivors& survivors,
                            Choice& choice) {
  for (int64_t strip = rows.begin; strip < rows.end; strip += kThreads) {
    const int64_t row = strip + threadIdx.x;
    Box own{};
    bool keep = false;
    if (row < rows.end) {
      own = load_box(params.boxes, row);
      keep = reaches(own, bounds) && can_be_in_range(level, own);
    }
    const int count = compact(survivors, own, static_cast<int>(row - rows.begin), keep);
    for (int entry = 0; entry < count; ++entry) {
      const Box box = survivors.boxes[entry];
      const Distances d = distances(box, point.x, point.y);
      if (!is_inside(d) || !in_range(level, longest(d))) continue;
      if (kJudgesEveryCandidate) {
        offer(choice, params.rule, level.stride, box, survivors.rows[entry], point.x, point.y, d);
      } else if (choice.row < 0 || area(box) < choice.area) {
        choice.row = survivors.rows[entry];
        choice.area = area(box);
      }
    }
    __syncthreads();
  }
}

// Whether a region of the image covers the point.
PIOU_DEVICE bool walk_regions(const AssignParams& params, const TileBounds& bounds, const Rows& rows,
                              const Point& point, const Survivors& survivors) {
  bool covered = false;
  for (int64_t strip = rows.begin; strip < rows.end; strip += kThreads) {
    const int64_t row = strip + threadIdx.x;
    Box own{};
    bool keep = false;
    if (row < rows.end) {
      own = load_box(params.ignore_boxes, row);
      keep = reaches(own, bounds);
    }
    const int count = compact(survivors, own, 0, keep);
    for (int entry = 0; entry < count && !covered; ++entry) {
      covered = is_inside(distances(survivors.boxes[entry], point.x, point.y));
    }
    __syncthreads();
  }
  return covered;
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
                                const Rows& rows, const Point& point, const Choice& choice, bool in_region) {
  PointOutputs outputs;
  int64_t verdict = choice.in_ignore_band || in_region ? kIgnored : kBackground;
  if (is_padding(params.valid_sizes, image, point.x, point.y)) {
    verdict = kIgnored;
  } else if (choice.row >= 0) {
    const int64_t row = rows.begin + choice.row;
    const Box box = load_box(params.boxes, row);
    const Distances d = distances(box, point.x, point.y);
    const float point_iou = pseudo_iou(d), point_centerness = centerness(d);
    const float quality = params.rule.metric == Metric::kPseudoIou ? point_iou : point_centerness;
    if (is_positive(params.rule, level.stride, box, point.x, point.y, d, quality)) {
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
    if (is_in_ignore_band(params.rule, level.stride, box, point.x, point.y, d, quality)) verdict = kIgnored;
  }
  outputs.matched = verdict;
  outputs.label = verdict;
  return outputs;
}

PIOU_DEVICE void write(const AssignParams& params, int64_t output, const PointOutputs& outputs) {
  params.matched[output] = outputs.matched;
  params.matched_labels[output] = outputs.label;
  reinterpret_cast<float4*>(params.ltrb)[output] =
      make_float4(outputs.ltrb.l, outputs.ltrb.t, outputs.ltrb.r, outputs.ltrb.b);
  params.pseudo_iou[output] = outputs.pseudo_iou;
  params.centerness[output] = outputs.centerness;
}

PIOU_DEVICE void count_positive(const AssignParams& params, int64_t image, int64_t matched) {
  const unsigned positives = __ballot_sync(kFullWarp, matched >= 0);
  if (matched >= 0) add_count(params.pos_per_box + matched, 1);
  if (threadIdx.x % 32 == 0 && positives != 0) add_count(params.num_pos + image, __popc(positives));
}

// Grid: the tiles of the first image, of the second, and so on. Blocks share integer counters alone.
template <bool kJudgesEveryCandidate, int kOffsetCapacity>
PIOU_KERNEL void PIOU_LAUNCH_BOUNDS(kThreads)
    assign_kernel(const PIOU_GRID_CONSTANT AssignParams params,
                  const PIOU_GRID_CONSTANT OffsetTable<kOffsetCapacity> table, int tiles_per_image) {
  PIOU_SHARED_ARRAY(Box, survivor_boxes, kThreads);
  PIOU_SHARED_ARRAY(int, survivor_rows, kThreads);
  PIOU_SHARED_ARRAY(int, warp_counts, kWarps);
  const Survivors survivors{survivor_boxes, survivor_rows, warp_counts};

  const int64_t image = blockIdx.x / tiles_per_image;
  const Tile tile = tile_at(params, blockIdx.x % tiles_per_image);
  const Level level = params.levels[tile.level];
  const TileBounds bounds = tile_bounds(params, level, tile);
  const int row = tile.first_row + static_cast<int>(threadIdx.x) / kTileWidth;
  const int column = tile.first_column + static_cast<int>(threadIdx.x) % kTileWidth;
  const Point point{point_coordinate(column, params.offset, level.stride),
                    point_coordinate(row, params.offset, level.stride),
                    row < level.height && column < level.width};

  const Rows rows = image_rows(offsets_of(params, table), image, params.num_boxes);
  Choice choice;
  walk_boxes<kJudgesEveryCandidate>(params, level, bounds, rows, point, survivors, choice);
  bool in_region = false;
  if (params.ignore_boxes != nullptr) {
    const Rows regions = image_rows(ignore_offsets_of(params, table), image, params.num_ignore_boxes);
    in_region = walk_regions(params, bounds, regions, point, survivors);
  }

  int64_t matched = kBackground;
  if (point.exists) {
    const PointOutputs outputs = decide(params, level, image, rows, point, choice, in_region);
    const int64_t output =
        image * params.num_points + level.first_point + static_cast<int64_t>(row) * level.width + column;
    write(params, output, outputs);
    matched = outputs.matched;
  }
  count_positive(params, image, matched);
}

}  // namespace pseudo_iou_ops
