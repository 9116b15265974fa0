// The best points of one box, at most k.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace pseudo_iou_ops {

class BestPoints {
 public:
  struct Entry {
    float alignment, overlap, x, y;
    int64_t point;
  };

  explicit BestPoints(int k) : k_(k) { entries_.reserve(k_); }
  void clear() { entries_.clear(); }
  const std::vector<Entry>& entries() const { return entries_; }

  // An alignment must exceed it to enter. Points are offered in their order, so that the lower wins a tie.
  float bound() const { return entries_.size() < k_ ? 0.0f : entries_.back().alignment; }

  void offer(const Entry& entry) {
    if (!(entry.alignment > bound())) return;
    if (entries_.size() == k_) entries_.pop_back();
    const auto is_better = [](const Entry& a, const Entry& b) { return a.alignment > b.alignment; };
    entries_.insert(std::upper_bound(entries_.begin(), entries_.end(), entry, is_better), entry);
  }

 private:
  const size_t k_;
  std::vector<Entry> entries_;
};

}  // namespace pseudo_iou_ops
