// The assignment's CUDA kernel on the CPU: the kernel that launch/assign.cu would choose.
#pragma once

#include "cuda_shim.h"

#include "../../csrc/kernels/assign.cuh"

namespace assign_run {

using namespace pseudo_iou_ops;

// How to run; `most_images` is the limit of one launch.
struct Run {
  cuda_shim::Schedule schedule;
  unsigned seed;
  int64_t most_images;
};

inline void run(const AssignParams& params, const Run& how) {
  launch_chosen_kernel(params, how.most_images, [&](auto kernel, const auto& table, int tiles, int images) {
    cuda_shim::launch(cuda_shim::Dim(tiles, images), kThreads, how.schedule, how.seed,
                      [&] { kernel(params, table); });
  });
}

}  // namespace assign_run
