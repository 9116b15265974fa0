// The sum over the classes of one point, in the order of the contract, on a CPU.
#pragma once

#include <algorithm>

#include "../core/dynamic_k.h"

namespace pseudo_iou_ops {

constexpr int64_t kScoresPerRun = 256;

template <class T>
void widen_scores(const HeadLevel& level, int64_t first, int64_t step, int64_t count, float* scores) {
  const T* const values = static_cast<const T*>(level.values) + first;
  for (int64_t i = 0; i < count; ++i) scores[i] = static_cast<float>(widen(values[i * step]));
}

inline void read_scores(const Predictions& predictions, const HeadPoint& at, int64_t first_class,
                        int64_t count, float* scores) {
  const HeadLevel& level = head_level(predictions.scores, at.level);
  const int64_t first =
      position_in_head(level, predictions.scores.num_channels, at.image, at.point, first_class);
  const int64_t step = level.channels_last ? 1 : level.num_points;
  switch (predictions.score_type) {
    case FloatType::kFloat:
      return widen_scores<float>(level, first, step, count, scores);
    case FloatType::kHalf:
      return widen_scores<Half>(level, first, step, count, scores);
    case FloatType::kBfloat16:
      return widen_scores<Bfloat16>(level, first, step, count, scores);
    default:
      return widen_scores<double>(level, first, step, count, scores);
  }
}

// find_terms(scores, count, terms) turns the scores of a run of classes into what they add.
template <class FindTerms>
float sum_over_classes(const Predictions& predictions, const HeadPoint& at, const FindTerms& find_terms) {
  float sums[kPartialSums] = {};
  float scores[kScoresPerRun], terms[kScoresPerRun];
  const int64_t classes = predictions.scores.num_channels;
  for (int64_t first = 0; first < classes; first += kScoresPerRun) {
    const int64_t count = std::min(kScoresPerRun, classes - first);
    read_scores(predictions, at, first, count, scores);
    find_terms(scores, count, terms);
    for (int64_t i = 0; i < count; ++i) sums[i % kPartialSums] += terms[i];
  }
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

}  // namespace pseudo_iou_ops
