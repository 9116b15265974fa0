// The assignment's CUDA kernel on the CPU, launched as launch/assign.cu would.
#pragma once

#include "cuda_shim.h"

#include "../../csrc/kernels/assign.cuh"

namespace assign_run {

using namespace pseudo_iou_ops;

// How to run: in which order, and with how many points a thread (0: as launch/assign.cu would).
struct Run {
  cuda_shim::Schedule schedule;
  unsigned seed;
  int points;
};

template <bool kJudgesEveryCandidate, int kPoints, int kCapacity>
void run_kernel(const AssignParams& params, const OffsetTable<kCapacity>& table, const Run& run) {
  const int tiles = static_cast<int>(count_tiles(params, kPoints));
  cuda_shim::launch(static_cast<unsigned>(tiles * params.num_images), kThreads, run.schedule, run.seed,
                    [&] { assign_kernel<kJudgesEveryCandidate, kPoints, kCapacity>(params, table, tiles); });
}

template <int kCapacity>
void run_rule(const AssignParams& params, const OffsetTable<kCapacity>& table, const Run& run) {
  const int points = run.points == 0 ? points_per_thread(params) : run.points;
  if (params.rule.judges_every_candidate()) {
    run_kernel<true, 1>(params, table, run);
  } else if (points == 1) {
    run_kernel<false, 1>(params, table, run);
  } else {
    run_kernel<false, kPointsWhereDense>(params, table, run);
  }
}

// As launch/assign.cu does: a table of offsets in place of the pointers that are on the host.
inline void run_with_host_offsets(AssignParams params, const Run& run) {
  OffsetTable<kMaxImagesByValue> table;
  std::copy_n(params.offsets, params.num_images + 1, table.offsets);
  params.offsets = nullptr;
  if (params.ignore_offsets != nullptr) {
    std::copy_n(params.ignore_offsets, params.num_images + 1, table.ignore_offsets);
    params.ignore_offsets = nullptr;
  }
  run_rule(params, table, run);
}

inline void run(const AssignParams& params, const Run& how, bool offsets_on_host) {
  if (offsets_on_host) {
    run_with_host_offsets(params, how);
  } else {
    run_rule(params, OffsetTable<0>{}, how);
  }
}

}  // namespace assign_run
