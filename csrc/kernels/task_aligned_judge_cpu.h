// What becomes of the claims of task-aligned boxes on a CPU: contests, alignments, and what a box keeps.
#pragma once

#include "contest_cpu.h"
#include "task_aligned_cpu.h"

namespace pseudo_iou_ops {

// The boxes that compete for a point that several chose: those that hold it, or all.
struct TaskAlignedCompetition {
  const TaskAlignedRule& rule;

  Reach reach(const Box& box) const {
    if (rule.among == Among::kHolders) return {grown(box, rule.min_side), rule.inside_margin, 0.0f};
    return everywhere();
  }

  template <class Bounds>
  bool can_reach(const Bounds& bounds, const Box& box) const {
    if (rule.among == Among::kHolders)
      return touches(grown(box, rule.min_side), bounds.points, rule.inside_margin);
    return !(bounds.weakest_claim > 0.0f) || touches(box, bounds.rivals, 0.0f);
  }

  float value(const Box& prediction, const Box& box, float, float) const {
    return prediction_overlap(rule, prediction, box);
  }
};

// The largest alignment and the largest overlap among the points of a box, as bits: the order of floats that
// are not negative is that of their bits.
struct BoxMaxima {
  uint32_t alignment = 0, overlap = 0;
};

// Those of the boxes of all images. Malformed offsets may give a box to several images, which are told apart.
class MaximaOfImages {
 public:
  explicit MaximaOfImages(const TopKParams& params) {
    int64_t places = 0;
    for (int64_t image = 0; image < params.num_images; ++image) {
      const Rows rows = image_rows(params.offsets, image, params.num_boxes);
      place_of_row_0_.push_back(places - rows.begin);
      places += rows.end - rows.begin;
    }
    maxima_.resize(places);
  }

  BoxMaxima& of(int64_t image, int64_t box_row) { return maxima_[place_of_row_0_[image] + box_row]; }

 private:
  std::vector<int64_t> place_of_row_0_;  // of each image, as if it had one
  std::vector<BoxMaxima> maxima_;
};

// One thread's worker: gives claimed points to their boxes, and leaves the claims in `matched` and the
// alignments in `score`.
template <class T>
class TaskAlignedJudge {
 public:
  TaskAlignedJudge(const TaskAlignedParams& params, MaximaOfImages& maxima)
      : params_(params), maxima_(maxima), contest_(params.call, TaskAlignedCompetition{params.rule}) {}

  void judge(const PointTask& task) {
    if (params_.rule.among != Among::kChoosers) hold_contests(task);
    for_each_claimed(params_.call, task, [&](const ClaimedPoint& point) {
      const int64_t box_row = row_of_claim(point.claim);
      const float overlap = value_of_claim(point.claim);
      const float score = class_score(params_, head_point(task, point), box_row);
      const float value = alignment(params_, score, overlap);
      params_.call.score[point.output] = value;
      BoxMaxima& maxima = maxima_.of(task.image, box_row);
      raise_to(&maxima.alignment, bits_of(value));
      raise_to(&maxima.overlap, bits_of(overlap));
    });
  }

 private:
  HeadPoint head_point(const PointTask& task, const ClaimedPoint& point) const {
    return {task.image, point.output - task.image * params_.call.num_points, task.level};
  }

  void hold_contests(const PointTask& task) {
    for_each_claimed(params_.call, task, [&](const ClaimedPoint& point) {
      if (!point.is_contested) return;
      const Box prediction = predicted_box<T>(params_.predictions, head_point(task, point), point.x, point.y);
      contest_.add(task.image, point.output, prediction, point.x, point.y);
    });
    contest_.settle();
  }

  const TaskAlignedParams& params_;
  MaximaOfImages& maxima_;
  Contest<TaskAlignedCompetition> contest_;
};

// Lets the boxes of an image keep their best points alone, where the rule limits them: by alignment, then the
// lower point. The others become background.
class TaskAlignedKeeper {
 public:
  TaskAlignedKeeper(const TaskAlignedParams& params, MaximaOfImages& maxima)
      : params_(params), maxima_(maxima) {}

  void keep(int64_t image) {
    const int64_t first_output = image * params_.call.num_points;
    positives_.clear();
    for (int64_t output = first_output; output < first_output + params_.call.num_points; ++output) {
      const int64_t claim = params_.call.matched[output];
      if (claim >= 0) positives_.push_back({row_of_claim(claim), output, params_.call.score[output]});
    }
    const auto comes_first = [](const Positive& a, const Positive& b) {
      if (a.box_row != b.box_row) return a.box_row < b.box_row;
      return a.alignment != b.alignment ? a.alignment > b.alignment : a.output < b.output;
    };
    std::sort(positives_.begin(), positives_.end(), comes_first);
    for (size_t first = 0, last; first < positives_.size(); first = last) {
      last = first;
      while (last < positives_.size() && positives_[last].box_row == positives_[first].box_row) ++last;
      keep_of_box(image, first, last);
    }
  }

 private:
  struct Positive {
    int64_t box_row, output;
    float alignment;
  };

  void keep_of_box(int64_t image, size_t first, size_t last) {
    const size_t kept = std::min(last, first + static_cast<size_t>(params_.rule.keep));
    uint32_t overlap = 0;
    for (size_t i = first; i < kept; ++i) {
      overlap = std::max(overlap, bits_of(value_of_claim(params_.call.matched[positives_[i].output])));
    }
    maxima_.of(image, positives_[first].box_row).overlap = overlap;
    for (size_t i = kept; i < last; ++i) {
      params_.call.matched[positives_[i].output] = kBackground;
      params_.call.matched_labels[positives_[i].output] = kBackground;
      params_.call.score[positives_[i].output] = 0.0f;
    }
  }

  const TaskAlignedParams& params_;
  MaximaOfImages& maxima_;
  std::vector<Positive> positives_;
};

// The target of a point's class, from the alignment that the judge left.
inline Verdict task_aligned_verdict(const TaskAlignedParams& params, MaximaOfImages& maxima,
                                    const ClaimedPoint& point) {
  const int64_t box_row = row_of_claim(point.claim);
  const BoxMaxima& of_box = maxima.of(point.image, box_row);
  const float divisor = float_of(of_box.alignment) + params.rule.eps;
  const float score = (params.call.score[point.output] / divisor) * float_of(of_box.overlap);
  return {box_row, value_of_claim(point.claim), score};
}

}  // namespace pseudo_iou_ops
