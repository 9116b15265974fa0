// The best candidates of a level on a CPU. Nearly every logit is below the threshold: they are compared as
// they are, a run at a time, and only what passes gets a score, and only what is kept a box.
#pragma once

#include <algorithm>
#include <functional>
#include <vector>

#include "decode.h"

namespace pseudo_iou_ops {

constexpr int64_t kLogitsPerScan = 64;
constexpr int64_t kLogitsPerTask = 1 << 16;

// How many values are at least a bound.
template <class T>
PIOU_MULTIVERSION int64_t count_passing(const T* values, int64_t count, float bound) {
  int found = 0;
  for (int64_t i = 0; i < count; ++i) found += as_float(values[i]) >= bound;
  return found;
}

// A part of a slice's logits, as they lie in memory.
struct DecodeTask {
  int64_t slice;
  int64_t first, last;
};

// In the order of their slices.
inline std::vector<DecodeTask> decode_tasks(const DecodeParams& params) {
  std::vector<DecodeTask> tasks;
  for (int64_t slice = 0; slice < params.logits.num_images * params.logits.num_levels; ++slice) {
    const int64_t size = params.level_size(slice_at(params, slice).level);
    for (int64_t first = 0; first < size; first += kLogitsPerTask) {
      tasks.push_back({slice, first, std::min(first + kLogitsPerTask, size)});
    }
  }
  return tasks;
}

// Leaves the best k, in no order.
inline void keep_best(std::vector<uint64_t>& keys, int64_t k) {
  if (static_cast<int64_t>(keys.size()) <= k) return;
  std::nth_element(keys.begin(), keys.begin() + k, keys.end(), std::greater<>());
  keys.resize(k);
}

template <class T>
class CandidateFinder {
 public:
  explicit CandidateFinder(const DecodeParams& params) : params_(params) {}

  // The keys of a task's candidates, at most 2k of them: all that can be among the best k of the slice.
  std::vector<uint64_t> run(const DecodeTask& task) {
    slice_ = slice_at(params_, task.slice);
    bound_ = params_.logit_bound;
    keys_.clear();
    const T* logits = slice_logits<T>(params_, slice_);
    for (int64_t first = task.first; first < task.last; first += kLogitsPerScan) {
      const int64_t count = std::min(kLogitsPerScan, task.last - first);
      if (count_passing(logits + first, count, bound_) == 0) continue;
      for (int64_t i = first; i < first + count; ++i) offer(i, as_float(logits[i]));
    }
    return keys_;
  }

 private:
  void offer(int64_t position, float logit) {
    if (!(logit >= bound_)) return;
    const uint64_t key = key_at<T>(params_, slice_, static_cast<uint32_t>(position), logit);
    if (key == 0) return;
    keys_.push_back(key);
    if (static_cast<int64_t>(keys_.size()) < 2 * params_.k) return;
    keep_best(keys_, params_.k);
    // No score exceeds that of its class alone, so that the worst key kept bounds the logits to come.
    bound_ = std::max(bound_, logit_bound(score_of(*std::min_element(keys_.begin(), keys_.end()))));
  }

  const DecodeParams& params_;
  DecodeSlice slice_{};
  float bound_ = 0;
  std::vector<uint64_t> keys_;
};

// From what the tasks of a slice found to its rows of the outputs.
class CandidateWriter {
 public:
  CandidateWriter(const DecodeParams& params, const std::vector<DecodeTask>& tasks,
                  const std::vector<std::vector<uint64_t>>& found)
      : params_(params), tasks_(tasks), found_(found) {}

  void run(int64_t index) {
    gather(index);
    keep_best(keys_, params_.k);
    std::sort(keys_.begin(), keys_.end(), std::greater<>());
    const int64_t kept = static_cast<int64_t>(keys_.size());
    params_.counts[index] = kept;
    const DecodeSlice slice = slice_at(params_, index);
    for (int64_t rank = 0; rank < params_.k; ++rank) {
      write_candidate(params_, slice, rank, rank < kept ? keys_[rank] : 0);
    }
  }

 private:
  void gather(int64_t slice) {
    keys_.clear();
    const auto is_before = [](const DecodeTask& task, int64_t wanted) { return task.slice < wanted; };
    const auto begin = std::lower_bound(tasks_.begin(), tasks_.end(), slice, is_before);
    for (auto task = begin; task != tasks_.end() && task->slice == slice; ++task) {
      const std::vector<uint64_t>& keys = found_[task - tasks_.begin()];
      keys_.insert(keys_.end(), keys.begin(), keys.end());
    }
  }

  const DecodeParams& params_;
  const std::vector<DecodeTask>& tasks_;
  const std::vector<std::vector<uint64_t>>& found_;
  std::vector<uint64_t> keys_;
};

}  // namespace pseudo_iou_ops
