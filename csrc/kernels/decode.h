// One candidate of decode_topk, for both kernels: from a logit to its key, from a key to a row of the
// outputs.
#pragma once

#include "../core/decode.h"

namespace pseudo_iou_ops {

// One level of one image, the unit in which the best are chosen. They are numbered as the rows of the counts.
struct DecodeSlice {
  int64_t image;
  int level;
};

PIOU_HOST_DEVICE DecodeSlice slice_at(const DecodeParams& params, int64_t index) {
  return {index / params.logits.num_levels, static_cast<int>(index % params.logits.num_levels)};
}

template <class T>
PIOU_HOST_DEVICE const T* slice_logits(const DecodeParams& params, DecodeSlice slice) {
  return static_cast<const T*>(params.logits.levels[slice.level].values) +
         slice.image * params.level_size(slice.level);
}

// The place of a logit from its position in memory.
PIOU_HOST_DEVICE uint32_t place_at(const DecodeParams& params, int level, uint32_t position) {
  if (params.logits.levels[level].channels_last) return position;
  const uint32_t points = static_cast<uint32_t>(params.logits.levels[level].num_points);
  const uint32_t class_index = position / points, point = position - class_index * points;
  return point * static_cast<uint32_t>(params.logits.num_channels) + class_index;
}

// 0 if the logit is no candidate. A NaN is none, as a logit or as a centerness.
template <class T>
PIOU_HOST_DEVICE uint64_t key_at(const DecodeParams& params, DecodeSlice slice, uint32_t position,
                                 float logit) {
  if (!(logit >= params.logit_bound)) return 0;
  float score = exact_sigmoid(logit);
  if (!(score > params.score_threshold)) return 0;
  const uint32_t place = place_at(params, slice.level, position);
  if (params.centerness.num_levels > 0) {
    const HeadLevel& level = params.centerness.levels[slice.level];
    const int64_t point = place / static_cast<uint32_t>(params.logits.num_channels);
    const float centerness =
        as_float(static_cast<const T*>(level.values)[slice.image * level.num_points + point]);
    if (centerness != centerness) return 0;
    score *= exact_sigmoid(centerness);
  }
  return candidate_key(score, place);
}

PIOU_HOST_DEVICE float side_at(const DecodeParams& params, DecodeSlice slice, int64_t point, int channel) {
  const HeadLevel& level = params.ltrb.levels[slice.level];
  const int64_t index = level.channels_last ? point * 4 + channel : channel * level.num_points + point;
  return static_cast<const float*>(level.values)[slice.image * level.num_points * 4 + index];
}

// Fills row `rank` of a slice; key 0: there is no candidate of this rank.
PIOU_HOST_DEVICE void write_candidate(const DecodeParams& params, DecodeSlice slice, int64_t rank,
                                      uint64_t key) {
  const int64_t row = (slice.image * params.logits.num_levels + slice.level) * params.k + rank;
  const int64_t place = key != 0 ? place_of(key) : 0, classes = params.logits.num_channels;
  const int64_t point = key != 0 ? place / classes : 0;
  params.scores[row] = key != 0 ? score_of(key) : 0.0f;
  params.labels[row] = key != 0 ? place - point * classes : -1;
  float* const box = params.boxes + 4 * row;
  const float* const center = params.points + 2 * (params.logits.levels[slice.level].first_point + point);
  for (int side = 0; side < 4; ++side) {
    if (key == 0) {
      box[side] = 0.0f;
    } else {
      const float distance = side_at(params, slice, point, side);
      box[side] = side < 2 ? center[side] - distance : center[side - 2] + distance;
    }
  }
}

}  // namespace pseudo_iou_ops
