// What a detector's head predicts at each point, as an assignment reads it.
#pragma once

#include "exact.h"
#include "head.h"
#include "reduced_precision.h"

namespace pseudo_iou_ops {

enum class FloatType : int { kFloat, kHalf, kBfloat16, kDouble };

struct Predictions {
  Head boxes;  // one level a level of the pyramid, or one for all
  Head scores;
  FloatType box_type, score_type;
  bool boxes_are_ltrb, scores_are_logits;
};

// A point of a head.
struct HeadPoint {
  int64_t image, point;  // within the image
  int level;             // of the pyramid
};

PIOU_HOST_DEVICE int64_t position_in_head(const HeadLevel& level, int64_t channels, int64_t image,
                                          int64_t point, int64_t channel) {
  const int64_t local = point - level.first_point;
  return level.channels_last ? (image * level.num_points + local) * channels + channel
                             : (image * channels + channel) * level.num_points + local;
}

PIOU_HOST_DEVICE const HeadLevel& head_level(const Head& head, int level) {
  return head.levels[head.num_levels == 1 ? 0 : level];
}

template <class T>
PIOU_HOST_DEVICE float read(const HeadLevel& level, int64_t position) {
  return static_cast<float>(widen(static_cast<const T*>(level.values)[position]));
}

template <class T>
PIOU_HOST_DEVICE Box predicted_box(const Predictions& predictions, const HeadPoint& at, float x, float y) {
  const HeadLevel& level = head_level(predictions.boxes, at.level);
  const int64_t first = position_in_head(level, 4, at.image, at.point, 0);
  const int64_t step = level.channels_last ? 1 : level.num_points;
  const float a = read<T>(level, first), b = read<T>(level, first + step);
  const float c = read<T>(level, first + 2 * step), d = read<T>(level, first + 3 * step);
  if (predictions.boxes_are_ltrb) return {x - a, y - b, x + c, y + d};
  return {a, b, c, d};
}

// The same where the type of the boxes is known to the call alone.
PIOU_HOST_DEVICE Box predicted_box(const Predictions& predictions, const HeadPoint& at, float x, float y) {
  switch (predictions.box_type) {
    case FloatType::kFloat:
      return predicted_box<float>(predictions, at, x, y);
    case FloatType::kHalf:
      return predicted_box<Half>(predictions, at, x, y);
    case FloatType::kBfloat16:
      return predicted_box<Bfloat16>(predictions, at, x, y);
    default:
      return predicted_box<double>(predictions, at, x, y);
  }
}

PIOU_HOST_DEVICE float read_value(const Head& head, FloatType type, const HeadPoint& at, int64_t channel) {
  const HeadLevel& level = head_level(head, at.level);
  const int64_t position = position_in_head(level, head.num_channels, at.image, at.point, channel);
  switch (type) {
    case FloatType::kFloat:
      return read<float>(level, position);
    case FloatType::kHalf:
      return read<Half>(level, position);
    case FloatType::kBfloat16:
      return read<Bfloat16>(level, position);
    default:
      return read<double>(level, position);
  }
}

// The score of a class that the head has.
PIOU_HOST_DEVICE float read_score(const Predictions& predictions, const HeadPoint& at, int64_t label) {
  return read_value(predictions.scores, predictions.score_type, at, label);
}

// A score as a number in [0, 1]; what is no number is 0.
PIOU_HOST_DEVICE float probability_of(float score, bool is_logit) {
  if (score != score) return 0.0f;
  const float p = is_logit ? exact_sigmoid(score) : score;
  return p > 0.0f ? minimum(p, 1.0f) : 0.0f;
}

}  // namespace pseudo_iou_ops
