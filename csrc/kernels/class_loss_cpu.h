// The classification losses on a CPU. A task is a piece of one level of one image. Nearly every logit has the
// target 0: a loop without branches treats all of them so. Where that is wrong its results are written over
// before they are added up, by 0 or by those of a matched logit.
#pragma once

#include "../core/class_loss.h"
#include "../core/reduced_precision.h"
#include "head_tasks.h"

namespace pseudo_iou_ops {

constexpr int64_t kLogitsPerTask = 32768;
constexpr int64_t kLogitsPerRun = 1024;  // what is computed at once stays in the first cache

// Where classes come last a run of logits may hold many points; else it is one class of many points.
inline int64_t points_per_run(const HeadLevel& level, int64_t num_classes) {
  return level.channels_last ? std::max<int64_t>(1, kLogitsPerRun / num_classes) : kLogitsPerRun;
}

inline int64_t points_per_task(const HeadLevel& level, int64_t num_classes) {
  const int64_t run = points_per_run(level, num_classes);
  return std::max<int64_t>(1, kLogitsPerTask / (run * num_classes)) * run;
}

inline std::vector<HeadTask> class_loss_tasks(const ClassLossParams& params) {
  const int64_t classes = params.head.num_channels;
  if (classes == 0) return {};
  return head_tasks(params.head, [&](const HeadLevel& level) { return points_per_task(level, classes); });
}

constexpr int kSumLanes = 16;  // of the widest vector of float32

// Value i is added to lane i mod kSumLanes, then the lanes are added up: an order that depends on the number
// of values alone, not on threads, nor on the instruction set.
template <class Real>
PIOU_MULTIVERSION Real sum_in_lanes(const Real* PIOU_RESTRICT values, int64_t count) {
  Real lanes[kSumLanes] = {};
  int64_t first = 0;
  for (; first + kSumLanes <= count; first += kSumLanes) {
    for (int lane = 0; lane < kSumLanes; ++lane) lanes[lane] += values[first + lane];
  }
  for (; first < count; ++first) lanes[first % kSumLanes] += values[first];
  for (int half = kSumLanes / 2; half > 0; half /= 2) {
    for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

// The loss and gradient of a run of logits whose target is 0.
template <class T, bool kIsSquare>
PIOU_MULTIVERSION void negative_run(const T* PIOU_RESTRICT logits, int64_t count, Compute<T> weight,
                                    Compute<T> exponent, Compute<T>* PIOU_RESTRICT losses,
                                    T* PIOU_RESTRICT gradients) {
  for (int64_t i = 0; i < count; ++i) {
    const LossTerm<Compute<T>> term = negative_term<kIsSquare>(widen(logits[i]), exponent, weight);
    losses[i] = term.loss;
    gradients[i] = narrow<T>(term.gradient);
  }
}

// One thread's worker: runs tasks one after another, reusing its scratch memory.
template <class T>
class ClassLossWorker {
 public:
  using Real = Compute<T>;

  explicit ClassLossWorker(const ClassLossParams& params)
      : params_(params),
        negative_weight_(static_cast<Real>(params.negative_weight) *
                         inverse_normalizer<Real>(params.normalizer)),
        matched_weight_(static_cast<Real>(params.matched_weight) *
                        inverse_normalizer<Real>(params.normalizer)),
        exponent_(static_cast<Real>(params.exponent)),
        losses_(std::max(kLogitsPerRun, params.head.num_channels)),
        unused_(losses_.size()) {}

  // The task's share of the loss.
  double run(const HeadTask& task) {
    level_ = &params_.head.levels[task.level];
    const int64_t image_size = level_->num_points * params_.head.num_channels;
    logits_ = static_cast<const T*>(level_->values) + task.image * image_size;
    gradients_ = level_->gradients ? static_cast<T*>(level_->gradients) + task.image * image_size : nullptr;
    first_label_ = task.image * params_.head.num_points + level_->first_point;
    total_ = 0;
    const int64_t step = points_per_run(*level_, params_.head.num_channels);
    for (int64_t first = task.first_point; first < task.last_point; first += step) {
      find_points(first, std::min(first + step, task.last_point));
      if (level_->channels_last) {
        run_points(first, std::min(step, task.last_point - first));
      } else {
        run_planes(first, std::min(step, task.last_point - first));
      }
    }
    return total_;
  }

 private:
  struct Match {
    int64_t point, class_index;
  };

  void find_points(int64_t first, int64_t last) {
    matches_.clear();
    ignored_.clear();
    for (int64_t point = first; point < last; ++point) {
      const PointLabel label = point_label(params_, params_.labels[first_label_ + point]);
      if (label.match >= 0) matches_.push_back({point, label.match});
      if (label.is_ignored) ignored_.push_back(point);
    }
  }

  // Whole points, with all their classes.
  void run_points(int64_t first, int64_t points) {
    const int64_t classes = params_.head.num_channels;
    start_run(first * classes, points * classes);
    for (const int64_t point : ignored_) {
      for (int64_t class_index = 0; class_index < classes; ++class_index) {
        set((point - first) * classes + class_index, {0, 0});
      }
    }
    for (const Match& match : matches_) {
      set((match.point - first) * classes + match.class_index, term_of(match));
    }
    end_run(points * classes);
  }

  // Many points, class by class.
  void run_planes(int64_t first, int64_t points) {
    for (int64_t class_index = 0; class_index < params_.head.num_channels; ++class_index) {
      start_run(class_index * level_->num_points + first, points);
      for (const int64_t point : ignored_) set(point - first, {0, 0});
      for (const Match& match : matches_) {
        if (match.class_index == class_index) set(match.point - first, term_of(match));
      }
      end_run(points);
    }
  }

  // Treats the logits from `first` on as negatives.
  void start_run(int64_t first, int64_t count) {
    const auto run = exponent_ == 2 ? negative_run<T, true> : negative_run<T, false>;
    run_gradients_ = gradients_ != nullptr ? gradients_ + first : unused_.data();
    run(logits_ + first, count, negative_weight_, exponent_, losses_.data(), run_gradients_);
  }

  void set(int64_t position, const LossTerm<Real>& term) {
    losses_[position] = term.loss;
    run_gradients_[position] = narrow<T>(term.gradient);
  }

  void end_run(int64_t count) { total_ += sum_in_lanes(losses_.data(), count); }

  LossTerm<Real> term_of(const Match& match) const {
    const int64_t index = level_->channels_last ? match.point * params_.head.num_channels + match.class_index
                                                : match.class_index * level_->num_points + match.point;
    const Real target = target_at(params_, first_label_ + match.point);
    const LossTerm<Real> term = matched_term<Real>(widen(logits_[index]), target, exponent_);
    return {matched_weight_ * term.loss, matched_weight_ * term.gradient};
  }

  const ClassLossParams& params_;
  const Real negative_weight_, matched_weight_, exponent_;
  std::vector<Real> losses_;
  std::vector<T> unused_;  // gradients that nobody asked for
  std::vector<Match> matches_;
  std::vector<int64_t> ignored_;
  const HeadLevel* level_ = nullptr;
  const T* logits_ = nullptr;
  T* gradients_ = nullptr;
  T* run_gradients_ = nullptr;
  int64_t first_label_ = 0;
  double total_ = 0;
};

}  // namespace pseudo_iou_ops
