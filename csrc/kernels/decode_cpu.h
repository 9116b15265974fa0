// The best candidates of a level on a CPU. Nearly every logit is below the threshold: they are compared as
// they are, a run at a time, and only what passes gets a score, and only what is kept a box.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "../core/decode_params.h"
#include "../core/elementary.h"
#include "../core/reduced_precision.h"
#include "multiversion.h"

namespace pseudo_iou_ops {

constexpr int64_t kValuesPerScan = 64;

// How many values lie above a bound.
template <class T>
PIOU_MULTIVERSION int64_t count_above(const T* values, int64_t count, Compute<T> bound) {
  int found = 0;
  for (int64_t i = 0; i < count; ++i) found += widen(values[i]) > bound;
  return found;
}

// Below every logit whose sigmoid exceeds the threshold.
inline float logit_bound(float threshold) {
  if (!(threshold > 0)) return -std::numeric_limits<float>::infinity();
  if (threshold >= 1) return std::numeric_limits<float>::infinity();
  const double exact = std::log(threshold / (1.0 - threshold));
  return static_cast<float>(exact - 1e-3 * (1.0 + std::abs(exact)));
}

template <class T>
class DecodeWorker {
 public:
  explicit DecodeWorker(const DecodeParams& params)
      : params_(params), bound_(logit_bound(params.score_threshold)) {}

  // Tasks are the levels of the first image, of the second, and so on.
  void run(int64_t task) {
    image_ = task / params_.logits.num_levels;
    level_ = static_cast<int>(task % params_.logits.num_levels);
    find_candidates();
    keep_best();
    params_.counts[task] = static_cast<int64_t>(candidates_.size());
    for (int64_t rank = 0; rank < params_.k; ++rank) write(task * params_.k + rank, rank);
  }

 private:
  struct Candidate {
    float score;
    int64_t index;  // point * classes + class
  };

  void find_candidates() {
    candidates_.clear();
    const HeadLevel& level = params_.logits.levels[level_];
    const int64_t size = level.num_points * params_.logits.num_channels;
    const T* logits = static_cast<const T*>(level.values) + image_ * size;
    for (int64_t first = 0; first < size; first += kValuesPerScan) {
      const int64_t count = std::min(kValuesPerScan, size - first);
      if (count_above(logits + first, count, bound_) == 0) continue;
      for (int64_t i = first; i < first + count; ++i) {
        if (widen(logits[i]) > bound_) offer(level, i, widen(logits[i]));
      }
    }
  }

  void offer(const HeadLevel& level, int64_t position, Compute<T> logit) {
    const int64_t classes = params_.logits.num_channels;
    const int64_t point = level.channels_last ? position / classes : position % level.num_points;
    const int64_t class_index = level.channels_last ? position % classes : position / level.num_points;
    float score = static_cast<float>(sigmoid(logit).value);
    if (!(score > params_.score_threshold)) return;
    if (params_.centerness.num_levels > 0) {
      const HeadLevel& centerness = params_.centerness.levels[level_];
      const T* values = static_cast<const T*>(centerness.values);
      score *= static_cast<float>(sigmoid(widen(values[image_ * centerness.num_points + point])).value);
    }
    candidates_.push_back({score, point * classes + class_index});
  }

  // By score, then in the order of points and classes.
  void keep_best() {
    const auto is_better = [](const Candidate& a, const Candidate& b) {
      return a.score != b.score ? a.score > b.score : a.index < b.index;
    };
    const int64_t kept = std::min<int64_t>(params_.k, candidates_.size());
    std::nth_element(candidates_.begin(), candidates_.begin() + kept, candidates_.end(), is_better);
    candidates_.resize(kept);
    std::sort(candidates_.begin(), candidates_.end(), is_better);
  }

  void write(int64_t output, int64_t rank) {
    float* box = params_.boxes + 4 * output;
    if (rank >= static_cast<int64_t>(candidates_.size())) {
      std::fill_n(box, 4, 0.0f);
      params_.scores[output] = 0;
      params_.labels[output] = -1;
      return;
    }
    const Candidate& candidate = candidates_[rank];
    const int64_t point = candidate.index / params_.logits.num_channels;
    const HeadLevel& level = params_.ltrb.levels[level_];
    const float* ltrb = static_cast<const float*>(level.values);
    const auto side = [&](int64_t channel) { return ltrb[value_index(level, 4, image_, point, channel)]; };
    const float* center = params_.points + 2 * (level.first_point + point);
    box[0] = center[0] - side(0);
    box[1] = center[1] - side(1);
    box[2] = center[0] + side(2);
    box[3] = center[1] + side(3);
    params_.scores[output] = candidate.score;
    params_.labels[output] = candidate.index % params_.logits.num_channels;
  }

  const DecodeParams& params_;
  const float bound_;
  std::vector<Candidate> candidates_;
  int64_t image_ = 0;
  int level_ = 0;
};

}  // namespace pseudo_iou_ops
