// The assignment on a GPU, one launch for all levels and images. A block owns a tile of one level of one
// image. Its threads first sift the image's boxes together for those that can hold a point of the tile,
// in the order of their rows; then each thread walks the short list for its own points, one above the other.
#pragma once

#include <algorithm>

#include "../core/candidates.h"
#include "cuda.h"

namespace pseudo_iou_ops {

constexpr int kTileWidth = 32;
constexpr int kThreadRows = 8;
constexpr int kThreads = kTileWidth * kThreadRows;
constexpr int kWarps = kThreads / 32;
constexpr int kBlocksPerProcessor = 5;  // Or more; a thread then has at most 48 registers.
constexpr unsigned kFullWarp = 0xffffffffu;

// A launch costs by the size of its parameters, so the common batch has a small table of offsets.
constexpr int kSmallBatch = 64;

// One point a thread keeps more blocks in flight. Where boxes are many, sifting them costs more than the
// points: taller tiles sift a quarter as often. The counts are known to the host without asking the device.
constexpr int kPointsWhereDense = 4;
constexpr int64_t kDenseBoxesPerImage = 64;

inline int points_per_thread(const AssignParams& params) {
  return params.num_boxes >= kDenseBoxesPerImage * params.num_images ? kPointsWhereDense : 1;
}

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
  if constexpr (kCapacity > 0) return params.offsets != nullptr ? params.offsets : table.offsets;
  return params.offsets;
}

template <int kCapacity>
PIOU_DEVICE const int64_t* ignore_offsets_of(const AssignParams& params,
                                             const OffsetTable<kCapacity>& table) {
  if constexpr (kCapacity > 0) {
    return params.ignore_offsets != nullptr ? params.ignore_offsets : table.ignore_offsets;
  }
  return params.ignore_offsets;
}

PIOU_DEVICE void add_to_counter(int64_t* counter, int64_t count) {
  atomicAdd(reinterpret_cast<unsigned long long*>(counter), static_cast<unsigned long long>(count));
}

struct Tile {
  int level;
  int first_row, first_column;
};

PIOU_HOST_DEVICE int64_t tiles_of(const Level& level, int tile_height) {
  return divide_up(level.width, kTileWidth) * divide_up(level.height, tile_height);
}

inline int64_t count_tiles(const AssignParams& params, int points) {
  int64_t tiles = 0;
  for (int level = 0; level < params.num_levels; ++level) {
    tiles += tiles_of(params.levels[level], points * kThreadRows);
  }
  return tiles;
}

PIOU_DEVICE Tile tile_at(const AssignParams& params, int64_t index, int tile_height) {
  int level = 0;
  while (index >= tiles_of(params.levels[level], tile_height)) {
    index -= tiles_of(params.levels[level], tile_height);
    ++level;
  }
  const int64_t across = divide_up(params.levels[level].width, kTileWidth);
  return {level, static_cast<int>(index / across) * tile_height,
          static_cast<int>(index % across) * kTileWidth};
}

// The rectangle between the outermost points of a tile.
struct TileBounds {
  float first_x, last_x, first_y, last_y;
};

PIOU_DEVICE int last_cell(int first, int size, int count) {
  return (first + size < count ? first + size : count) - 1;
}

PIOU_DEVICE TileBounds tile_bounds(const AssignParams& params, const Level& level, const Tile& tile,
                                   int tile_height) {
  const int last_row = last_cell(tile.first_row, tile_height, level.height);
  const int last_column = last_cell(tile.first_column, kTileWidth, level.width);
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

// A thread's points, kThreadRows cells apart, and what they choose. Threads past the level's edge stay in for
// the barriers.
template <int kPoints>
struct ThreadPoints {
  float x, y[kPoints];
  Choice choices[kPoints];
  bool in_region[kPoints];
};

// Sifts the image's boxes strip by strip, and calls visit(box, row) for those that reach the tile.
template <class Keep, class Visit>
PIOU_DEVICE void for_boxes_of_tile(const float* boxes, const Rows& rows, const Survivors& survivors,
                                   const Keep& keep, const Visit& visit) {
  for (int64_t strip = rows.begin; strip < rows.end; strip += kThreads) {
    const int64_t row = strip + threadIdx.x;
    Box own{};
    bool is_kept = false;
    if (row < rows.end) {
      own = load_box(boxes, row);
      is_kept = keep(own);
    }
    const int count = compact(survivors, own, static_cast<int>(row - rows.begin), is_kept);
    for (int entry = 0; entry < count; ++entry) visit(survivors.boxes[entry], survivors.rows[entry]);
    __syncthreads();
  }
}

// Offers every box of the image to the points it holds in range.
template <bool kJudgesEveryCandidate, int kPoints>
PIOU_DEVICE void walk_boxes(const AssignParams& params, const Level& level, const TileBounds& bounds,
                            const Rows& rows, const Survivors& survivors, ThreadPoints<kPoints>& points) {
  const auto keep = [&](const Box& box) { return reaches(box, bounds) && can_be_in_range(level, box); };
  const auto visit = [&](const Box& box, int row) {
    PIOU_UNROLL
    for (int p = 0; p < kPoints; ++p) {
      const Distances d = distances(box, points.x, points.y[p]);
      Choice& choice = points.choices[p];
      if (!is_inside(d) || !in_range(level, longest(d))) continue;
      if (kJudgesEveryCandidate) {
        offer(choice, params.rule, {level.stride, box, points.x, points.y[p], d}, row);
      } else if (choice.row < 0 || area(box) < choice.area) {
        choice.row = row;
        choice.area = area(box);
      }
    }
  };
  for_boxes_of_tile(params.boxes, rows, survivors, keep, visit);
}

// Finds out which points a region of the image covers.
template <int kPoints>
PIOU_DEVICE void walk_regions(const AssignParams& params, const TileBounds& bounds, const Rows& rows,
                              const Survivors& survivors, ThreadPoints<kPoints>& points) {
  const auto keep = [&](const Box& region) { return reaches(region, bounds); };
  const auto visit = [&](const Box& region, int) {
    PIOU_UNROLL
    for (int p = 0; p < kPoints; ++p) {
      points.in_region[p] |= is_inside(distances(region, points.x, points.y[p]));
    }
  };
  for_boxes_of_tile(params.ignore_boxes, rows, survivors, keep, visit);
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

PIOU_DEVICE void write(const AssignParams& params, int64_t output, const PointOutputs& outputs) {
  params.matched[output] = outputs.matched;
  params.matched_labels[output] = outputs.label;
  reinterpret_cast<float4*>(params.ltrb)[output] =
      make_float4(outputs.ltrb.l, outputs.ltrb.t, outputs.ltrb.r, outputs.ltrb.b);
  params.pseudo_iou[output] = outputs.pseudo_iou;
  params.centerness[output] = outputs.centerness;
}

// Counts the positives of a warp; every lane brings how many of its points are positive.
template <int kPoints>
PIOU_DEVICE void count_positives(const AssignParams& params, int64_t image, int positives) {
  int total = 0;
  for (int bit = 0; (kPoints >> bit) != 0; ++bit) {
    total += __popc(__ballot_sync(kFullWarp, (positives >> bit) & 1)) << bit;
  }
  if (threadIdx.x % 32 == 0 && total != 0) add_to_counter(params.num_pos + image, total);
}

// Grid: the tiles of the first image, of the second, and so on. Blocks share integer counters alone.
template <bool kJudgesEveryCandidate, int kPoints, int kOffsetCapacity>
PIOU_KERNEL void PIOU_LAUNCH_BOUNDS(kThreads, kBlocksPerProcessor)
    assign_kernel(const PIOU_GRID_CONSTANT AssignParams params,
                  const PIOU_GRID_CONSTANT OffsetTable<kOffsetCapacity> table, int tiles_per_image) {
  PIOU_SHARED_ARRAY(Box, survivor_boxes, kThreads);
  PIOU_SHARED_ARRAY(int, survivor_rows, kThreads);
  PIOU_SHARED_ARRAY(int, warp_counts, kWarps);
  const Survivors survivors{survivor_boxes, survivor_rows, warp_counts};

  const int64_t image = blockIdx.x / tiles_per_image;
  const Tile tile = tile_at(params, blockIdx.x % tiles_per_image, kPoints * kThreadRows);
  const Level level = params.levels[tile.level];
  const TileBounds bounds = tile_bounds(params, level, tile, kPoints * kThreadRows);
  const int first_row = tile.first_row + static_cast<int>(threadIdx.x) / kTileWidth;
  const int column = tile.first_column + static_cast<int>(threadIdx.x) % kTileWidth;

  ThreadPoints<kPoints> points;
  points.x = point_coordinate(column, params.offset, level.stride);
  PIOU_UNROLL
  for (int p = 0; p < kPoints; ++p) {
    points.y[p] = point_coordinate(first_row + p * kThreadRows, params.offset, level.stride);
    points.in_region[p] = false;
  }
  const Rows rows = image_rows(offsets_of(params, table), image, params.num_boxes);
  walk_boxes<kJudgesEveryCandidate>(params, level, bounds, rows, survivors, points);
  if (params.ignore_boxes != nullptr) {
    const Rows regions = image_rows(ignore_offsets_of(params, table), image, params.num_ignore_boxes);
    walk_regions(params, bounds, regions, survivors, points);
  }

  int positives = 0;
  PIOU_UNROLL
  for (int p = 0; p < kPoints; ++p) {
    const int row = first_row + p * kThreadRows;
    if (row >= level.height || column >= level.width) continue;
    const PointOutputs outputs =
        decide(params, level, image, rows, points.x, points.y[p], points.choices[p], points.in_region[p]);
    write(params,
          image * params.num_points + level.first_point + static_cast<int64_t>(row) * level.width + column,
          outputs);
    if (outputs.matched < 0) continue;
    add_to_counter(params.pos_per_box + outputs.matched, 1);
    ++positives;
  }
  count_positives<kPoints>(params, image, positives);
}

// Returns launch(kernel, table, tiles) for the kernel that suits the rule and so many points a thread.
template <int kCapacity, class Launch>
auto launch_with_table(const AssignParams& params, const OffsetTable<kCapacity>& table, int points,
                       const Launch& launch) {
  if (params.rule.judges_every_candidate()) {
    return launch(assign_kernel<true, 1, kCapacity>, table, count_tiles(params, 1));
  }
  const auto kernel =
      points == 1 ? assign_kernel<false, 1, kCapacity> : assign_kernel<false, kPointsWhereDense, kCapacity>;
  return launch(kernel, table, count_tiles(params, points));
}

template <int kCapacity, class Launch>
auto launch_with_offsets(const AssignParams& params, const int64_t* host_offsets,
                         const int64_t* host_ignore_offsets, int points, const Launch& launch) {
  OffsetTable<kCapacity> table;
  const int64_t entries = params.num_images + 1;
  if (host_offsets != nullptr) std::copy_n(host_offsets, entries, table.offsets);
  if (host_ignore_offsets != nullptr) std::copy_n(host_ignore_offsets, entries, table.ignore_offsets);
  return launch_with_table(params, table, points, launch);
}

// The same, with a table of the offsets that are on the host: those that are not null.
template <class Launch>
auto launch_chosen_kernel(const AssignParams& params, const int64_t* host_offsets,
                          const int64_t* host_ignore_offsets, int points, const Launch& launch) {
  if (host_offsets == nullptr && host_ignore_offsets == nullptr) {
    return launch_with_table(params, OffsetTable<0>{}, points, launch);
  }
  if (params.num_images <= kSmallBatch) {
    return launch_with_offsets<kSmallBatch>(params, host_offsets, host_ignore_offsets, points, launch);
  }
  return launch_with_offsets<kMaxImagesByValue>(params, host_offsets, host_ignore_offsets, points, launch);
}

}  // namespace pseudo_iou_ops
