// The points that each box has in the end, on a GPU. They are few, in lists that go through the outputs; in
// what order depends on the threads, and nothing is made of it.
#pragma once

#include "../core/task_aligned.h"
#include "top_k.cuh"

namespace pseudo_iou_ops {

constexpr int64_t kNoPositive = -1;

// A point of a box, and the place of the next one among the outputs. It lies in the distances of its point
// until these are written.
struct Positive {
  int64_t next;
  float alignment, overlap;
};

PIOU_DEVICE Positive load_positive(const TopKParams& params, int64_t output) {
  const float4 stored = reinterpret_cast<const float4*>(params.ltrb)[output];
  const uint64_t next = static_cast<uint64_t>(bits_of(stored.y)) << 32 | bits_of(stored.x);
  return {static_cast<int64_t>(next), stored.z, stored.w};
}

PIOU_DEVICE void add_positive(const TopKParams& params, int64_t* last_positive, int64_t output,
                              float alignment, float overlap) {
  const unsigned long long next = atomicExch(reinterpret_cast<unsigned long long*>(last_positive),
                                             static_cast<unsigned long long>(output));
  reinterpret_cast<float4*>(params.ltrb)[output] = make_float4(
      float_of(static_cast<uint32_t>(next)), float_of(static_cast<uint32_t>(next >> 32)), alignment, overlap);
}

// Calls visit(output, positive) for the points of a box in an image.
template <class Visit>
PIOU_DEVICE void visit_positives(const TopKParams& params, int64_t last_positive, int64_t image,
                                 const Visit& visit) {
  const int64_t first = image * params.num_points, last = first + params.num_points;
  for (int64_t output = last_positive; output != kNoPositive;) {
    const Positive positive = load_positive(params, output);
    if (output >= first && output < last) visit(output, positive);  // malformed offsets share a box
    output = positive.next;
  }
}

// Takes all but the best points from a box: those stay whose `iou` is then 0. Grid: as of PointThread.
PIOU_KERNEL void keep_best_kernel(const PIOU_GRID_CONSTANT TopKParams params, int64_t keep,
                                  const int64_t* last_positive, int64_t blocks_per_image) {
  const PointThread here(params, blocks_per_image);
  if (!here.is_point || params.matched[here.output] < 0) return;
  const int64_t row = row_of_claim(params.matched[here.output]);
  const float alignment = load_positive(params, here.output).alignment;
  int64_t better = 0;
  visit_positives(params, last_positive[row], here.image, [&](int64_t output, const Positive& other) {
    better += other.alignment > alignment || (other.alignment == alignment && output < here.output);
  });
  params.iou[here.output] = better < keep ? 0.0f : -1.0f;
  if (better >= keep) params.matched[here.output] = kBackground;
}

// Computes the scores of the points that boxes have. Grid: as of PointThread.
PIOU_KERNEL void score_positives_kernel(const PIOU_GRID_CONSTANT TopKParams params,
                                        const PIOU_GRID_CONSTANT TaskAlignedRule rule,
                                        const int64_t* last_positive, int64_t blocks_per_image) {
  const PointThread here(params, blocks_per_image);
  if (!here.is_point || params.matched[here.output] < 0) return;
  const int64_t row = row_of_claim(params.matched[here.output]);
  const float alignment = load_positive(params, here.output).alignment;
  float best_alignment = alignment, best_overlap = 0.0f;
  visit_positives(params, last_positive[row], here.image, [&](int64_t output, const Positive& other) {
    const bool is_kept = rule.keep == 0 || params.iou[output] == 0.0f;
    best_alignment = maximum(best_alignment, other.alignment);
    best_overlap = is_kept ? maximum(best_overlap, other.overlap) : best_overlap;
  });
  params.score[here.output] = (alignment / (best_alignment + rule.eps)) * best_overlap;
}

}  // namespace pseudo_iou_ops
