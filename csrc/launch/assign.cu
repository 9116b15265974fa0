#include "assign.h"

#include <algorithm>

#include "../kernels/assign.cuh"

namespace pseudo_iou_ops {
namespace {

template <bool kJudgesEveryCandidate, int kPoints, int kOffsetCapacity>
cudaError_t launch_kernel(const AssignParams& params, const OffsetTable<kOffsetCapacity>& table,
                          cudaStream_t stream) {
  const int64_t tiles = count_tiles(params, kPoints);
  const dim3 grid(static_cast<unsigned>(tiles * params.num_images));
  assign_kernel<kJudgesEveryCandidate, kPoints, kOffsetCapacity>
      <<<grid, kThreads, 0, stream>>>(params, table, static_cast<int>(tiles));
  return cudaGetLastError();
}

template <int kOffsetCapacity>
cudaError_t launch(const AssignParams& params, const OffsetTable<kOffsetCapacity>& table,
                   cudaStream_t stream) {
  if (params.rule.judges_every_candidate()) return launch_kernel<true, 1>(params, table, stream);
  if (points_per_thread(params) == 1) return launch_kernel<false, 1>(params, table, stream);
  return launch_kernel<false, kPointsWhereDense>(params, table, stream);
}

template <int kOffsetCapacity>
cudaError_t launch_with_offsets(const AssignParams& params, const int64_t* host_offsets,
                                const int64_t* host_ignore_offsets, cudaStream_t stream) {
  OffsetTable<kOffsetCapacity> table;
  const int64_t entries = params.num_images + 1;
  if (host_offsets != nullptr) std::copy_n(host_offsets, entries, table.offsets);
  if (host_ignore_offsets != nullptr) std::copy_n(host_ignore_offsets, entries, table.ignore_offsets);
  return launch(params, table, stream);
}

}  // namespace

cudaError_t launch_assign(const AssignParams& params, const int64_t* host_offsets,
                          const int64_t* host_ignore_offsets, cudaStream_t stream) {
  if (params.num_images == 0 || params.num_points == 0) return cudaSuccess;
  if (host_offsets == nullptr && host_ignore_offsets == nullptr) {
    return launch(params, OffsetTable<0>{}, stream);
  }
  // A launch costs by the size of its parameters, so the common batch has a small table.
  constexpr int kSmallBatch = 64;
  if (params.num_images <= kSmallBatch) {
    return launch_with_offsets<kSmallBatch>(params, host_offsets, host_ignore_offsets, stream);
  }
  return launch_with_offsets<kMaxImagesByValue>(params, host_offsets, host_ignore_offsets, stream);
}

}  // namespace pseudo_iou_ops
