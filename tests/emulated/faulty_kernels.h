// Kernels with a known fault each: the shim must notice them, or a test that passes on it means nothing.
#pragma once

#include "cuda_shim.h"

namespace faulty {

constexpr unsigned kThreads = 64;

// Each thread reads what its neighbour wrote; `barrier` puts the needed barrier in between.
inline void neighbour(float* out, bool barrier) {
  PIOU_SHARED_ARRAY(float, values, kThreads);
  values[threadIdx.x] = static_cast<float>(threadIdx.x);
  if (barrier) __syncthreads();
  out[threadIdx.x] = values[(threadIdx.x + 1) % kThreads];
}

// One lane leaves before the collective its warp needs it for.
inline void early_return(float* out) {
  if (threadIdx.x == 3) return;
  out[threadIdx.x] = static_cast<float>(__popc(__ballot_sync(0xffffffffu, true)));
}

// Each lane learns which others are as many past a multiple of three.
inline void match(float* out) {
  out[threadIdx.x] = static_cast<float>(__popc(__match_any_sync(0xffffffffu, threadIdx.x % 32 % 3)));
}

// Each lane takes what another brings: the lane of a number, one before or after it, or across from it.
inline void shuffles(float* out) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const uint64_t own = static_cast<uint64_t>(lane) << 40;  // beyond 32 bits
  const uint64_t taken = __shfl_sync(0xffffffffu, own, 5) + __shfl_up_sync(0xffffffffu, own, 1) +
                         __shfl_down_sync(0xffffffffu, own, 2) + __shfl_xor_sync(0xffffffffu, own, 8);
  out[threadIdx.x] = static_cast<float>(taken >> 40);
}

// One lane comes to another collective than its warp.
inline void mixed_collectives(float* out) {
  const unsigned lanes =
      threadIdx.x == 3 ? __ballot_sync(0xffffffffu, true) : __match_any_sync(0xffffffffu, 1);
  out[threadIdx.x] = static_cast<float>(__popc(lanes));
}

// Half of the threads wait at a barrier the others never reach.
inline void divergent_barrier(float* out) {
  if (threadIdx.x < kThreads / 2) __syncthreads();
  out[threadIdx.x] = 1.0f;
}

// The slot a thread gets depends on who comes first.
inline void order_dependent(float* out, unsigned long long* counter) {
  out[atomicAdd(counter, 1)] = static_cast<float>(threadIdx.x);
}

inline std::vector<float> run(const std::string& name, cuda_shim::Schedule schedule, unsigned seed) {
  std::vector<float> out(kThreads, -1.0f);
  unsigned long long counter = 0;
  cuda_shim::launch(1, kThreads, schedule, seed, [&] {
    if (name == "sound") neighbour(out.data(), true);
    if (name == "missing_barrier") neighbour(out.data(), false);
    if (name == "early_return") early_return(out.data());
    if (name == "match") match(out.data());
    if (name == "shuffles") shuffles(out.data());
    if (name == "mixed_collectives") mixed_collectives(out.data());
    if (name == "divergent_barrier") divergent_barrier(out.data());
    if (name == "order_dependent") order_dependent(out.data(), &counter);
  });
  return out;
}

}  // namespace faulty
