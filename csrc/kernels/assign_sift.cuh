// Which boxes can hold a point of a warp, in the order of their rows: a GPU's first look at an image's boxes.
// A block owns a tile of one level of one image, a warp a patch of the tile. Where an image has many boxes
// the block sifts them for its tile first, and each warp what is left for its patch.
#pragma once

#include "../core/candidates.h"
#include "cuda.h"

namespace pseudo_iou_ops {

// Two points a thread share the work that is done once a warp; a build can name another number, to measure.
#ifndef PSEUDO_IOU_OPS_POINTS_PER_THREAD
#define PSEUDO_IOU_OPS_POINTS_PER_THREAD 2
#endif
constexpr int kPoints = PSEUDO_IOU_OPS_POINTS_PER_THREAD;
constexpr int kPatchWidth = 8;                      // a warp's lanes are 8 x 4 points
constexpr int kLaneRows = kWarpSize / kPatchWidth;  // a thread's points lie so many rows apart
constexpr int kTileWidth = 32, kTileHeight = 16;    // in points
constexpr int kPatchesAcross = kTileWidth / kPatchWidth;
constexpr int kThreads = kTileWidth * kTileHeight / kPoints, kWarps = kThreads / kWarpSize;
constexpr int kTests = 8;  // boxes that a thread tests in one strip
constexpr int kRowsPerWarp = kTests * kWarpSize, kStrip = kTests * kThreads;
constexpr int kFewBoxes = 64;  // of an image at the most, for each warp to sift them alone

// The host sees to it that boxes lie at multiples of 16 bytes.
PIOU_DEVICE Box load_aligned(const float* boxes, unsigned row) {
  const float4 box = reinterpret_cast<const float4*>(boxes)[row];
  return {box.x, box.y, box.z, box.w};
}

// A box that a block has listed for its warps.
struct alignas(16) ListedBox : Box {
  int row;
};

// The rectangle between the outermost points of a tile or a patch, which may reach past the level's edge.
struct Bounds {
  float first_x, last_x, first_y, last_y;
};

// Whether a box reaches in between: points rise along an axis, so a box that misses the outermost ones misses
// all. Without branches, and false where a side is NaN.
PIOU_DEVICE bool meets(const Box& box, const Bounds& bounds) {
  return (bounds.last_x > box.x1) & (bounds.first_x < box.x2) & (bounds.last_y > box.y1) &
         (bounds.first_y < box.y2);
}

// The longer sides of the boxes that can hold a point in a range of distances to the farthest side: that
// distance lies between half the longer side and the longer side.
struct SideRange {
  float shortest, longest;

  PIOU_DEVICE SideRange(float low, float high) : shortest(low), longest(smaller(high + high, kLargestSide)) {}
};

// Whether a box can hold a point in range: true for every valid box that does. No other does that has_area.
PIOU_DEVICE bool reaches(const Box& box, const Bounds& bounds, const SideRange& sides) {
  const float side = larger(width(box), height(box));
  return (side >= sides.shortest) & (side <= sides.longest) & meets(box, bounds);
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
  PIOU_DEVICE Bounds tile_bounds() const { return bounds(tile_row, kTileHeight, tile_column, kTileWidth); }
  PIOU_DEVICE Bounds patch_bounds() const {
    return bounds(patch_row, kLaneRows * kPoints, patch_column, kPatchWidth);
  }
  PIOU_DEVICE Bounds bounds(int first_row, int rows, int first_column, int columns) const {
    const auto point = [&](int cell) { return point_coordinate(cell, offset, level.stride); };
    return {point(first_column), point(first_column + columns - 1), point(first_row),
            point(first_row + rows - 1)};
  }
};

// What the warps of a block share while they sift.
struct alignas(16) WarpCounts {
  int of[kWarps];
};

struct Board {
  int* rows;           // kStrip: those of a strip that are left, in a part for each warp
  WarpCounts* counts;  // one: how many each warp has
  ListedBox* boxes;    // kThreads: some of them, in the order of their rows

  PIOU_DEVICE int count() const {
    int sum = 0;
    PIOU_UNROLL
    for (int warp = 0; warp < kWarps; ++warp) sum += counts->of[warp];
    return sum;
  }
  // The row that comes as the given one of all.
  PIOU_DEVICE int row(int number) const {
    int slot = number, end = 0;
    PIOU_UNROLL
    for (int warp = 0; warp < kWarps - 1; ++warp) {
      end += counts->of[warp];
      if (number >= end) slot += kRowsPerWarp - counts->of[warp];
    }
    return rows[slot];
  }
};

// Puts on the board those rows of [strip, strip + kStrip) up to `last` whose boxes can hold a point of the
// tile. For whole blocks.
PIOU_DEVICE void list_strip(const Place& place, const Board& board, const float* boxes, unsigned strip,
                            unsigned last, const Bounds& tile, const SideRange& sides) {
  const int begin = static_cast<int>(place.warp) * kRowsPerWarp;
  const unsigned first = strip + begin;
  int slot = begin;
  if (first <= last) {
    PIOU_UNROLL_BY_4  // all at once would need more registers than there are
        for (int test = 0; test < kTests; ++test) {
      const unsigned row = first + test * kWarpSize + place.lane;
      const Box box = load_aligned(boxes, row <= last ? row : last);
      const bool is_kept = (row <= last) & reaches(box, tile, sides);
      const unsigned kept = __ballot_sync(kWholeWarp, is_kept);
      const unsigned up_to_own = kept << (kWarpSize - 1 - place.lane);
      if (is_kept) board.rows[slot + __popc(up_to_own) - 1] = static_cast<int>(row);
      slot += __popc(kept);
    }
  }
  if (place.lane == 0) board.counts->of[place.warp] = slot - begin;
  __syncthreads();
}

// Calls visit(box, row) for those boxes of an image with few that can hold a point of the warp's patch.
template <class Visit>
PIOU_DEVICE void visit_few(const Place& place, const float* boxes, const Rows& rows, const SideRange& sides,
                           const Visit& visit) {
  if (!place.has_points()) return;
  const Bounds patch = place.patch_bounds();
  const unsigned end = rows.end;
  for (unsigned first = rows.begin; first < end; first += kWarpSize) {
    const unsigned own = first + place.lane;
    const Box box = load_aligned(boxes, own < end ? own : end - 1);
    unsigned kept = __ballot_sync(kWholeWarp, (own < end) & has_area(box) & reaches(box, patch, sides));
    for (; kept != 0; kept &= kept - 1) {
      const int row = static_cast<int>(first) + __ffs(static_cast<int>(kept)) - 1;
      visit(load_aligned(boxes, row), row);
    }
  }
}

// The same of an image with many, for whole blocks: the block sifts them for its tile first, strip by strip.
template <class Visit>
PIOU_DEVICE void visit_many(const Place& place, const Board& board, const float* boxes, const Rows& rows,
                            const SideRange& sides, const Visit& visit) {
  const Bounds tile = place.tile_bounds(), patch = place.patch_bounds();
  const int own = static_cast<int>(threadIdx.x);
  const unsigned end = rows.end;  // unsigned, as a step past the last row must fit
  for (unsigned strip = rows.begin; strip < end; strip += kStrip) {
    list_strip(place, board, boxes, strip, end - 1, tile, sides);
    const int total = board.count();
    int start = 0;
    do {  // at least once, so that all threads have read the counts at the barrier
      if (start != 0) __syncthreads();
      if (start + own < total) {
        const int row = board.row(start + own);
        Box box = load_aligned(boxes, row);
        if (!has_area(box)) box.x1 = box.x2;  // so that it holds no point
        board.boxes[own] = {box, row};
      }
      __syncthreads();
      int left = total - start < kThreads ? total - start : kThreads;
      if (!place.has_points()) left = 0;
      for (const ListedBox* listed = board.boxes; left > 0; left -= kWarpSize, listed += kWarpSize) {
        const bool is_there = static_cast<int>(place.lane) < left;
        unsigned met = __ballot_sync(kWholeWarp, is_there && meets(listed[place.lane], patch));
        for (; met != 0; met &= met - 1) {
          const ListedBox& box = listed[__ffs(static_cast<int>(met)) - 1];
          const int row = box.row;
          visit(box, row);
        }
      }
      start += kThreads;
    } while (start < total);
  }
}

// Calls visit(box, row) for the boxes that can hold a point of the warp's patch in the range, in the order of
// their rows.
template <class Visit>
PIOU_DEVICE void for_boxes_of_patch(const Place& place, const Board& board, const float* boxes,
                                    const Rows& rows, const SideRange& sides, const Visit& visit) {
  if (rows.end - rows.begin > kFewBoxes) {
    visit_many(place, board, boxes, rows, sides, visit);
  } else {
    visit_few(place, boxes, rows, sides, visit);
  }
}

}  // namespace pseudo_iou_ops
