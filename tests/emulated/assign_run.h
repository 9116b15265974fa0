// The assignment's CUDA kernel on the CPU: the kernel that launch/assign.cu would choose.
#pragma once

#include "cuda_shim.h"

#include "../../csrc/kernels/assign.cuh"

namespace assign_run {

using namespace pseudo_iou_ops;

// How to run. `other_points` takes the number of points a thread that the library would not choose, and
// `offsets_on_host` hides the pointers to the offsets from the kernel, as ops/cuda/assign_cuda.cpp does.
struct Run {
  cuda_shim::Schedule schedule;
  unsigned seed;
  bool other_points, offsets_on_host;
};

inline void run(AssignParams params, const Run& how) {
  if (params.num_images == 0 || params.num_points == 0) return;
  const bool is_dense = (points_per_thread(params) == kPointsWhereDense) != how.other_points;
  const int64_t *offsets = nullptr, *ignore_offsets = nullptr;
  if (how.offsets_on_host) {
    std::swap(offsets, params.offsets);
    std::swap(ignore_offsets, params.ignore_offsets);
  }
  launch_chosen_kernel(params, offsets, ignore_offsets, is_dense ? kPointsWhereDense : 1,
                       [&](auto kernel, const auto& table, int64_t tiles) {
                         cuda_shim::launch(static_cast<unsigned>(tiles * params.num_images), kThreads,
                                           how.schedule, how.seed,
                                           [&] { kernel(params, table, static_cast<int>(tiles)); });
                       });
}

}  // namespace assign_run
