// The kernels of the losses over numpy arrays.
#pragma once

#include "arrays.h"

#include "../../csrc/kernels/class_loss.cuh"
#include "../../csrc/kernels/ltrb_loss.cuh"
#include "../../csrc/kernels/scale.cuh"

namespace losses {

using namespace arrays;
using namespace pseudo_iou_ops;

struct Order {
  cuda_shim::Schedule schedule;
  unsigned seed;

  void launch(int64_t blocks, const std::function<void()>& kernel) const {
    cuda_shim::launch(static_cast<unsigned>(blocks), kSumThreads, schedule, seed, kernel);
  }
};

// 16-bit floats come as their bits.
template <class Function>
void dispatch(const std::string& dtype, const Function& function) {
  if (dtype == "float32") return function(float());
  if (dtype == "float16") return function(Half());
  if (dtype == "bfloat16") return function(Bfloat16());
  if (dtype == "float64") return function(double());
  throw std::invalid_argument("dtype: expected a floating one, got " + dtype);
}

// A level is (values, gradients or None, points, channels_last).
inline Head describe_head(const std::vector<py::tuple>& levels, int64_t images, int64_t channels) {
  Head head{};
  head.num_images = images;
  head.num_channels = channels;
  for (const py::tuple& level : levels) {
    const int64_t points = level[2].cast<int64_t>();
    void* gradients = level[1].is_none() ? nullptr : level[1].cast<py::array>().mutable_data();
    head.levels[head.num_levels++] = {level[0].cast<py::array>().data(), gradients, points, head.num_points,
                                      level[3].cast<bool>()};
    head.num_points += points;
  }
  return head;
}

template <class Real>
double sum_parts(const std::vector<Real>& parts, const Order& order) {
  Real sum = 0;
  order.launch(1, [&] { sum_parts_kernel(parts.data(), static_cast<int64_t>(parts.size()), &sum); });
  return static_cast<double>(sum);
}

template <class T, bool kIsSquare>
double run_class_loss(const ClassLossParams& params, const Order& order) {
  const ClassLossTiles tiles = class_loss_tiles<T>(params);
  std::vector<Compute<T>> parts(tiles.tiles_per_image * params.head.num_images);
  order.launch(static_cast<int64_t>(parts.size()),
               [&] { class_loss_kernel<T, kIsSquare>(params, tiles, parts.data()); });
  return sum_parts(parts, order);
}

inline double class_loss(const std::vector<py::tuple>& levels, int64_t channels, const std::string& dtype,
                         const Array<int64_t>& labels, const py::object& targets,
                         const py::object& normalizer, double negative_weight, double matched_weight,
                         double exponent, bool class_agnostic, const std::string& schedule, unsigned seed) {
  ClassLossParams params{};
  params.head = describe_head(levels, labels.shape(0), channels);
  params.labels = labels.data();
  params.targets = data<const float>(targets);
  params.normalizer = data<const float>(normalizer);
  params.negative_weight = negative_weight;
  params.matched_weight = matched_weight;
  params.exponent = exponent;
  params.class_agnostic = class_agnostic;
  const Order order{schedule_named(schedule), seed};
  double loss = 0;
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    loss = exponent == 2 ? run_class_loss<T, true>(params, order) : run_class_loss<T, false>(params, order);
  });
  return loss;
}

inline double ltrb_loss(const std::vector<py::tuple>& levels, const std::string& dtype,
                        const Array<float>& targets, const py::object& labels, const py::object& weights,
                        const py::object& normalizer, int64_t kind, const std::string& schedule,
                        unsigned seed) {
  LtrbLossParams params{};
  params.head = describe_head(levels, targets.shape(0), 4);
  params.targets = targets.data();
  params.labels = data<const int64_t>(labels);
  params.weights = data<const float>(weights);
  params.normalizer = data<const float>(normalizer);
  params.kind = static_cast<LtrbLoss>(kind);
  const Order order{schedule_named(schedule), seed};
  double loss = 0;
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    std::vector<Compute<T>> parts(ltrb_loss_blocks(params));
    order.launch(static_cast<int64_t>(parts.size()), [&] { ltrb_loss_kernel<T>(params, parts.data()); });
    loss = sum_parts(parts, order);
  });
  return loss;
}

inline void scale(const std::vector<py::array>& tensors, const std::string& dtype, double factor,
                  const std::string& schedule, unsigned seed) {
  ScaleParams params{};
  for (const py::array& tensor : tensors) {
    params.parts[params.num_parts++] = {py::array(tensor).mutable_data(), tensor.size()};
  }
  const Order order{schedule_named(schedule), seed};
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    const Compute<T> value = static_cast<Compute<T>>(factor);
    params.factor = &value;
    const ScaleTiles tiles = scale_tiles<T>(params);
    order.launch(tiles.count, [&] { scale_kernel<T>(params, tiles); });
  });
}

}  // namespace losses
