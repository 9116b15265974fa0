// What the assigners where boxes choose points share on a GPU: their first launch clears, the next let boxes
// claim points, the last writes every point. Claims are integers whose maximum counts, so that no order of
// the threads shows.
#pragma once

#include <algorithm>

#include "../core/candidates.h"
#include "../core/top_k_params.h"
#include "image_offsets.cuh"

namespace pseudo_iou_ops {

constexpr int kTopKThreads = 256;

// Calls visit(image) for each image that owns a box: one if the offsets are well-formed, none or several if
// not. All lanes of a warp look for them, and each visits them all.
template <int kCapacity, class Visit>
PIOU_DEVICE void visit_owners(const TopKParams& params, const ImageOffsets<kCapacity>& offsets,
                              int64_t box_row, const Visit& visit) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int num_images = static_cast<int>(params.num_images);  // fewer than 2^31, as blocks are counted
  for (int first = 0; first < num_images; first += 32) {
    bool owns = false;
    if (first + lane < num_images) {
      const Rows rows = offsets.rows(first + lane, params.num_boxes);
      owns = rows.begin <= box_row && box_row < rows.end;
    }
    for (unsigned owners = __ballot_sync(kWholeWarp, owns); owners != 0; owners &= owners - 1) {
      visit(first + __ffs(static_cast<int>(owners)) - 1);
    }
  }
}

PIOU_DEVICE void raise_claim(int64_t* claim, int64_t value) {
  atomicMax(reinterpret_cast<long long*>(claim), static_cast<long long>(value));
}

// The largest claim of a warp's lanes.
PIOU_DEVICE int64_t strongest_of_warp(int64_t claim) {
  for (int distance = 16; distance > 0; distance /= 2) {
    const int64_t other = __shfl_xor_sync(kWholeWarp, claim, distance);
    if (other > claim) claim = other;
  }
  return claim;
}

// Clears a point and the counters of its number.
PIOU_DEVICE void clear_top_k(const TopKParams& params, int64_t index) {
  if (index < params.num_images * params.num_points) {
    params.matched[index] = kBackground;
    params.matched_labels[index] = kBackground;
  }
  if (index < params.num_images) params.num_pos[index] = 0;
  if (index < params.num_boxes) params.pos_per_box[index] = 0;
}

// The point of a thread. Grid: the points of the first image, of the second, and so on.
struct PointThread {
  int64_t image, point, output;
  bool is_point;

  PIOU_DEVICE PointThread(const TopKParams& params, int64_t blocks_per_image)
      : image(blockIdx.x / blocks_per_image),
        point(blockIdx.x % blocks_per_image * kTopKThreads + threadIdx.x),
        output(image * params.num_points + point),
        is_point(point < params.num_points) {}
};

struct PointOfImage {
  int level;
  float stride, x, y;
};

PIOU_DEVICE PointOfImage point_of_image(const TopKParams& params, int64_t point) {
  int index = 0;
  while (index + 1 < params.num_levels && point >= params.levels[index + 1].first_point) ++index;
  const Level& level = params.levels[index];
  const int64_t cell = point - level.first_point;
  return {index, level.stride,
          point_coordinate(static_cast<int>(cell % level.width), params.offset, level.stride),
          point_coordinate(static_cast<int>(cell / level.width), params.offset, level.stride)};
}

PIOU_DEVICE bool is_in_region(const TopKParams& params, const Rows& regions, float x, float y) {
  for (int64_t row = regions.begin; row < regions.end; ++row) {
    const Box region = load_box(params.ignore_boxes, row);
    if (is_valid(region) && is_inside(distances(region, x, y))) return true;
  }
  return false;
}

// Writes a point that no box has.
PIOU_DEVICE void write_no_box(const TopKParams& params, int64_t output, bool is_ignored) {
  params.matched[output] = is_ignored ? kIgnored : kBackground;
  params.matched_labels[output] = is_ignored ? kIgnored : kBackground;
  reinterpret_cast<float4*>(params.ltrb)[output] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  params.iou[output] = 0.0f;
  params.score[output] = 0.0f;
}

// Writes a point whose box is that of a claim.
PIOU_DEVICE void write_box(const TopKParams& params, int64_t output, const PointOfImage& point, int64_t claim,
                           float score) {
  const int64_t row = row_of_claim(claim);
  const Distances d = distances(load_box(params.boxes, row), point.x, point.y);
  params.matched[output] = row;
  params.matched_labels[output] = params.labels[row];
  reinterpret_cast<float4*>(params.ltrb)[output] = make_float4(d.l, d.t, d.r, d.b);
  params.iou[output] = value_of_claim(claim);
  params.score[output] = score;
  add_to_count(params.pos_per_box + row, 1);
}

// Adds the positives of a warp, of which every lane brings one point or none.
PIOU_DEVICE void count_positives(const TopKParams& params, int64_t image, bool is_positive) {
  const int positives = __popc(__ballot_sync(kWholeWarp, is_positive));
  if (threadIdx.x % 32 == 0 && positives > 0) add_to_count(params.num_pos + image, positives);
}

// Writes a point that no box has laid claim to.
template <int kCapacity>
PIOU_DEVICE void write_unclaimed(const TopKParams& params, const ImageOffsets<kCapacity>& regions,
                                 int64_t image, int64_t output, const PointOfImage& point) {
  const bool is_ignored =
      is_padding(params.valid_sizes, image, point.x, point.y) ||
      (params.ignore_boxes != nullptr &&
       is_in_region(params, regions.rows(image, params.num_ignore_boxes), point.x, point.y));
  write_no_box(params, output, is_ignored);
}

}  // namespace pseudo_iou_ops
