// The classification losses on a CPU. A task is a piece of one level of one image. Nearly every logit has the
// target 0: a loop without branches treats all of them so, with weight 0 where that is wrong, and the matched
// ones are added one by one.
#pragma once

#include "../core/class_loss.h"
#include "../core/class_loss_params.h"
#include "../core/reduced_precision.h"
#include "head_tasks.h"
#include "multiversion.h"
#include "reduce_cpu.h"

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

// The loss and gradient of a run of logits whose target is 0. A weight of 0 hides a logit, whatever it is.
template <class T, bool kIsSquare>
PIOU_MULTIVERSION void negative_run(const T* PIOU_RESTRICT logits, const Compute<T>* PIOU_RESTRICT weights,
                                    int64_t count, Compute<T> exponent, Compute<T>* PIOU_RESTRICT losses,
                                    T* PIOU_RESTRICT gradients) {
  using Real = Compute<T>;
  for (int64_t i = 0; i < count; ++i) {
    const Real logit = widen(logits[i]);
    const LossTerm<Real> term = negative_term<kIsSquare>(weights[i] != 0 ? logit : 0, exponent);
    losses[i] = weights[i] * term.loss;
    gradients[i] = narrow<T>(weights[i] * term.gradient);
  }
}

// One thread's worker: runs tasks one after another, reusing its scratch memory.
template <class T>
class ClassLossWorker {
 public:
  using Real = Compute<T>;

  explicit ClassLossWorker(const ClassLossParams& params)
      : params_(params),
        scale_(inverse_normalizer(params.normalizer)),
        weights_(std::max(kLogitsPerRun, params.head.num_channels)),
        losses_(weights_.size()),
        unused_(weights_.size()) {}

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
      for (const Match& match : matches_) add_match(match);
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

  Real negative_weight() const { return static_cast<Real>(params_.negative_weight) * scale_; }

  // Whole points, with all their classes.
  void run_points(int64_t first, int64_t points) {
    const int64_t classes = params_.head.num_channels;
    std::fill_n(weights_.begin(), points * classes, negative_weight());
    for (const Match& match : matches_) weights_[(match.point - first) * classes + match.class_index] = 0;
    for (const int64_t point : ignored_) {
      std::fill_n(weights_.begin() + (point - first) * classes, classes, Real(0));
    }
    run_logits(first * classes, points * classes);
  }

  // Many points, class by class.
  void run_planes(int64_t first, int64_t points) {
    std::fill_n(weights_.begin(), points, negative_weight());
    for (const int64_t point : ignored_) weights_[point - first] = 0;
    for (int64_t class_index = 0; class_index < params_.head.num_channels; ++class_index) {
      for (const Match& match : matches_) {
        weights_[match.point - first] = match.class_index == class_index ? Real(0) : negative_weight();
      }
      run_logits(class_index * level_->num_points + first, points);
    }
  }

  void run_logits(int64_t first, int64_t count) {
    const auto run = params_.exponent == 2 ? negative_run<T, true> : negative_run<T, false>;
    T* gradients = gradients_ != nullptr ? gradients_ + first : unused_.data();
    run(logits_ + first, weights_.data(), count, params_.exponent, losses_.data(), gradients);
    total_ += pairwise_sum(losses_.data(), count);
  }

  void add_match(const Match& match) {
    const int64_t index = level_->channels_last ? match.point * params_.head.num_channels + match.class_index
                                                : match.class_index * level_->num_points + match.point;
    const Real weight = static_cast<Real>(params_.matched_weight) * scale_;
    const Real target = target_at(params_, first_label_ + match.point);
    const LossTerm<Real> term =
        matched_term<Real>(widen(logits_[index]), target, static_cast<Real>(params_.exponent));
    total_ += weight * term.loss;
    if (gradients_ != nullptr) gradients_[index] = narrow<T>(weight * term.gradient);
  }

  const ClassLossParams& params_;
  const Real scale_;
  std::vector<Real> weights_, losses_;
  std::vector<T> unused_;  // gradients that nobody asked for
  std::vector<Match> matches_;
  std::vector<int64_t> ignored_;
  const HeadLevel* level_ = nullptr;
  const T* logits_ = nullptr;
  T* gradients_ = nullptr;
  int64_t first_label_ = 0;
  double total_ = 0;
};

}  // namespace pseudo_iou_ops
