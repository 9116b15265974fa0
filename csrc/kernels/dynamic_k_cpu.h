// SimOTA and dynamic soft labels on a CPU. A box first adds up its largest overlaps, which any prediction at
// a valid point may have: a loop over runs of predictions, in vector instructions. It then visits the points
// near its center, and the others only if one of them could still be among its cheapest. The sum over the
// classes of a point is computed when a cost first depends on it, and kept for all boxes.
//
// A Family says what differs: rule, predictions, valid points, near cells, place, terms, cost.
#pragma once

#include <array>

#include "../core/dynamic_k.h"
#include "top_k_cpu.h"

namespace pseudo_iou_ops {

// Until a point is written its `score` holds the sum over its classes, or one of these. Threads that compute
// a sum at once write the same bits.
constexpr float kNotValid = -2.0f, kNoSumYet = -1.0f;

inline float load_sum(const float* sum) {
  static_assert(sizeof(std::atomic<float>) == sizeof(float), "sums are plain numbers");
  return reinterpret_cast<const std::atomic<float>*>(sum)->load(std::memory_order_relaxed);
}

inline void store_sum(float* sum, float value) {
  reinterpret_cast<std::atomic<float>*>(sum)->store(value, std::memory_order_relaxed);
}

// Says for each point of a task whether it is valid: in the region of any box of its image.
template <class Family>
void mark_valid_points(const Family& family, const PointTask& task) {
  const TopKParams& call = family.call();
  const Grid grid = grid_of(call, task);
  const ValidCells valid = valid_cells(call, task.image, task.level);
  float* const sums = call.score + first_output_of(call, task);
  std::fill_n(sums, grid.num_points(), kNotValid);
  const Rows boxes = image_rows(call.offsets, task.image, call.num_boxes);
  for (int64_t box_row = boxes.begin; box_row < boxes.end; ++box_row) {
    const Box box = load_box(call.boxes, box_row);
    if (!is_valid(box)) continue;
    for (int index = 0; index < Family::kRegions; ++index) {
      const Box region = family.region(box, grid.level.stride, index);
      Cells rows, columns;
      if (!cells_inside(grid, valid, region, kInfinity, rows, columns)) continue;
      for (int row = rows.begin; row < rows.end; ++row) {
        std::fill(sums + grid.row_start(row) + columns.begin, sums + grid.row_start(row) + columns.end,
                  kNoSumYet);
      }
    }
  }
}

// The predicted boxes of some valid points of one level, in their order. Those that are no box have no area.
struct PredictedRun {
  static constexpr int kSize = 1024, kBlock = 16;

  int level, count;
  std::array<float, kSize> x1, y1, x2, y2, x, y;
  std::array<int64_t, kSize> point;
  std::array<float, kSize> overlaps;
  std::array<int32_t, kSize / kBlock> largest;  // of a block, as bits

  int num_blocks() const { return (count + kBlock - 1) / kBlock; }

  void add(const Box& prediction, float point_x, float point_y, int64_t index) {
    set_box(count, is_valid(prediction) ? prediction : Box{0.0f, 0.0f, 0.0f, 0.0f});
    x[count] = point_x;
    y[count] = point_y;
    point[count++] = index;
  }

  void fill_last_block() {
    for (int i = count; i < num_blocks() * kBlock; ++i) set_box(i, {0.0f, 0.0f, 0.0f, 0.0f});
  }

 private:
  void set_box(int i, const Box& box) {
    x1[i] = box.x1;
    y1[i] = box.y1;
    x2[i] = box.x2;
    y2[i] = box.y2;
  }
};

// The overlaps of a run with a box.
PIOU_MULTIVERSION inline void find_overlaps(PredictedRun& run, const Box box) {
  const int blocks = run.num_blocks(), count = blocks * PredictedRun::kBlock;
  for (int i = 0; i < count; ++i) {
    run.overlaps[i] = box_iou({run.x1[i], run.y1[i], run.x2[i], run.y2[i]}, box);
  }
  for (int block = 0; block < blocks; ++block) {
    int32_t largest = 0;
    for (int i = 0; i < PredictedRun::kBlock; ++i) {
      // Bits of numbers from 0 on are in the order of the numbers.
      const auto bits = static_cast<int32_t>(bits_of(run.overlaps[block * PredictedRun::kBlock + i]));
      largest = bits > largest ? bits : largest;
    }
    run.largest[block] = largest;
  }
}

// The largest overlaps of a box, in falling order. Those that are 0 add nothing.
class LargestOverlaps {
 public:
  explicit LargestOverlaps(int most) : most_(most) {}
  int dynamic_count() const { return pseudo_iou_ops::dynamic_count(values_.data(), count_); }

  void offer(const PredictedRun& run) {
    for (int block = 0; block < run.num_blocks(); ++block) {
      if (run.largest[block] <= static_cast<int32_t>(bits_of(bound()))) continue;
      for (int i = 0; i < PredictedRun::kBlock; ++i) offer(run.overlaps[block * PredictedRun::kBlock + i]);
    }
  }

 private:
  float bound() const { return count_ < most_ ? 0.0f : values_[count_ - 1]; }

  void offer(float value) {
    if (!(value > bound())) return;
    int place = count_ < most_ ? count_++ : count_ - 1;
    for (; place > 0 && values_[place - 1] < value; --place) values_[place] = values_[place - 1];
    values_[place] = value;
  }

  int most_, count_ = 0;
  std::array<float, kMaxK> values_{};
};

// The points of least key of one box. They are offered in their order, so that the lower wins a tie.
class CheapestPoints {
 public:
  struct Entry {
    uint32_t key;
    int64_t point;
  };

  void start(int count) {
    most_ = count;
    count_ = 0;
  }

  bool is_full() const { return count_ == most_; }
  uint32_t largest_key() const { return entries_[count_ - 1].key; }
  bool accepts(uint32_t key) const { return !is_full() || key < largest_key(); }
  const Entry* begin() const { return entries_.data(); }
  const Entry* end() const { return entries_.data() + count_; }

  void offer(const Entry& entry) {
    if (!accepts(entry.key)) return;
    int place = is_full() ? count_ - 1 : count_++;
    for (; place > 0 && entries_[place - 1].key > entry.key; --place) entries_[place] = entries_[place - 1];
    entries_[place] = entry;
  }

 private:
  int most_ = 0, count_ = 0;
  std::array<Entry, kMaxK> entries_{};
};

template <class Family>
class DynamicKWorker {
 public:
  explicit DynamicKWorker(const Family& family) : family_(family), call_(family.call()) {}

  // Lays the claims of the boxes of a task.
  void choose(const BoxTask& task) {
    boxes_.clear();
    for (int64_t box_row = task.first_row; box_row < task.last_row; ++box_row) {
      const Box box = load_box(call_.boxes, box_row);
      if (is_valid(box)) boxes_.push_back({box, box_row, LargestOverlaps(family_.top_ious())});
    }
    if (boxes_.empty()) return;
    for_each_run(task.image, [&] {
      for (Seeker& seeker : boxes_) {
        find_overlaps(run_, seeker.box);
        seeker.overlaps.offer(run_);
      }
    });
    for (const Seeker& seeker : boxes_) {
      find_cheapest(task.image, seeker);
      for (const CheapestPoints::Entry& entry : cheapest_) {
        lay_claim(call_, task.image * call_.num_points + entry.point,
                  claim_of_key(entry.key, seeker.box_row));
      }
    }
  }

 private:
  // A box in search of points.
  struct Seeker {
    Box box;
    int64_t box_row;
    LargestOverlaps overlaps;
  };

  // Calls visit() whenever the run holds predictions of valid points of an image; all of them, in their
  // order.
  template <class Visit>
  void for_each_run(int64_t image, const Visit& visit) {
    for (int level = 0; level < call_.num_levels; ++level) {
      const Grid grid = whole_level(call_, level);
      const float* const sums = call_.score + image * call_.num_points + grid.level.first_point;
      run_.level = level;
      run_.count = 0;
      for (int row = 0; row < grid.level.height; ++row) {
        for (int column = 0; column < grid.level.width; ++column) {
          const int64_t place = grid.row_start(row) + column;
          if (load_sum(sums + place) == kNotValid) continue;
          const HeadPoint at{image, grid.level.first_point + place, level};
          const float x = grid.x_axis.coordinate(column), y = grid.y_axis.coordinate(row);
          run_.add(family_.prediction(at, x, y), x, y, at.point);
          if (run_.count == PredictedRun::kSize) end_run(visit);
        }
      }
      end_run(visit);
    }
  }

  template <class Visit>
  void end_run(const Visit& visit) {
    if (run_.count == 0) return;
    run_.fill_last_block();
    visit();
    run_.count = 0;
  }

  void find_cheapest(int64_t image, const Seeker& seeker) {
    const int count = seeker.overlaps.dynamic_count();
    cheapest_.start(count);
    for (int level = 0; level < call_.num_levels; ++level) visit_near(image, level, seeker);
    if (cheapest_.is_full() && cheapest_.largest_key() < family_.least_key_elsewhere()) return;
    cheapest_.start(count);
    for_each_run(image, [&] {
      find_overlaps(run_, seeker.box);
      for (int i = 0; i < run_.count; ++i) {
        const HeadPoint at{image, run_.point[i], run_.level};
        consider(seeker, at, run_.x[i], run_.y[i], run_.overlaps[i]);
      }
    });
  }

  void visit_near(int64_t image, int level, const Seeker& seeker) {
    const Grid grid = whole_level(call_, level);
    Cells rows, columns;
    const ValidCells valid = valid_cells(call_, image, level);
    if (!family_.near_cells(grid, valid, seeker.box, rows, columns)) return;
    const float* const sums = call_.score + image * call_.num_points + grid.level.first_point;
    for (int row = rows.begin; row < rows.end; ++row) {
      for (int column = columns.begin; column < columns.end; ++column) {
        const int64_t place = grid.row_start(row) + column;
        if (load_sum(sums + place) == kNotValid) continue;
        const HeadPoint at{image, grid.level.first_point + place, level};
        const float x = grid.x_axis.coordinate(column), y = grid.y_axis.coordinate(row);
        consider(seeker, at, x, y, overlap_of(family_.prediction(at, x, y), seeker.box));
      }
    }
  }

  // Offers a point to the cheapest of a box. Every part of a cost is at least 0, and rounding keeps that
  // order: what is already too expensive without a part need not know it.
  void consider(const Seeker& seeker, const HeadPoint& at, float x, float y, float overlap) {
    const PointPrior prior = family_.prior(seeker.box, at.level, x, y);
    const auto key = [&](float classes) {
      return cost_key(prior.is_own, family_.cost(classes, overlap, prior));
    };
    if (!cheapest_.accepts(key(0.0f))) return;
    const ClassTerms own = family_.class_terms(at, seeker.box_row, overlap);
    if (!cheapest_.accepts(key(own.positive))) return;
    cheapest_.offer({key(class_cost(negative_sum(at), own)), at.point});
  }

  float negative_sum(const HeadPoint& at) const {
    float* const kept = call_.score + at.image * call_.num_points + at.point;
    float sum = load_sum(kept);
    if (sum == kNoSumYet) {
      sum = family_.negative_sum(at);
      store_sum(kept, sum);
    }
    return sum;
  }

  const Family& family_;
  const TopKParams& call_;
  std::vector<Seeker> boxes_;
  CheapestPoints cheapest_;
  PredictedRun run_;
};

// The strongest claim to a point that several boxes chose, of all boxes of its image.
template <class Family>
int64_t strongest_claim(const Family& family, const ClaimedPoint& point, const HeadPoint& at,
                        const Box& prediction) {
  const TopKParams& call = family.call();
  const float sum = call.score[point.output];
  const Rows rows = image_rows(call.offsets, point.image, call.num_boxes);
  int64_t strongest = point.claim;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const Box box = load_box(call.boxes, row);
    if (!is_valid(box)) continue;
    const PointPrior prior = family.prior(box, point.level, point.x, point.y);
    const auto claim = [&](float cost) { return claim_of_key(cost_key(prior.is_own, cost), row); };
    if (claim(0.0f) <= strongest) continue;
    const float overlap = overlap_of(prediction, box);
    if (claim(family.cost(0.0f, overlap, prior)) <= strongest) continue;
    const ClassTerms own = family.class_terms(at, row, overlap);
    strongest = std::max(strongest, claim(family.cost(class_cost(sum, own), overlap, prior)));
  }
  return strongest;
}

// What is left of the sums, where no box has the point.
inline void clear_sums(const TopKParams& call, const PointTask& task) {
  const int64_t first = first_output_of(call, task), end = first + grid_of(call, task).num_points();
  for (int64_t output = first; output < end; ++output) {
    if (call.matched[output] < 0) call.score[output] = 0.0f;
  }
}

template <class Family>
Verdict judge(const Family& family, const ClaimedPoint& point) {
  const TopKParams& call = family.call();
  const HeadPoint at{point.image, point.output - point.image * call.num_points, point.level};
  const Box prediction = family.prediction(at, point.x, point.y);
  const int64_t claim = point.is_contested ? strongest_claim(family, point, at, prediction) : point.claim;
  const int64_t box_row = row_of_key_claim(claim);
  const float overlap = overlap_of(prediction, load_box(call.boxes, box_row));
  return {box_row, overlap, overlap};
}

}  // namespace pseudo_iou_ops
