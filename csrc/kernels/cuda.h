// The CUDA words the kernels use. nvcc knows them; for the tests the kernels are also compiled by a host
// compiler, whose shim defines the same words before it includes a kernel (tests/emulated).
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define PIOU_KERNEL __global__
#define PIOU_EXACT_LAUNCH_BOUNDS(threads, blocks) __launch_bounds__(threads, blocks)
#define PIOU_DEVICE __device__ __forceinline__
#define PIOU_GRID_CONSTANT __grid_constant__
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900 && __CUDA_ARCH__ < 1200
#define PIOU_LAUNCH_BOUNDS(threads, blocks) __launch_bounds__(threads, blocks)
#else  // smaller multiprocessors do not hold so many, or ptxas would spill
#define PIOU_LAUNCH_BOUNDS(threads, blocks) __launch_bounds__(threads)
#endif
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800  // for kernels that spill on none of them
#define PIOU_LAUNCH_BOUNDS_WIDELY(threads, blocks) __launch_bounds__(threads, blocks)
#else
#define PIOU_LAUNCH_BOUNDS_WIDELY(threads, blocks) __launch_bounds__(threads)
#endif
// Blocks of 256 threads for a multiprocessor: as wanted where it is large, else what leaves 64 registers a
// thread.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900 && __CUDA_ARCH__ < 1200
#define PIOU_BLOCKS(wanted) (wanted)
#else
#define PIOU_BLOCKS(wanted) 4
#endif
#define PIOU_UNROLL_BY_4 _Pragma("unroll 4")
#define PIOU_UNROLL _Pragma("unroll")
#define PIOU_SHARED_ARRAY(type, name, count) __shared__ type name[count]
#endif

namespace pseudo_iou_ops {

constexpr int kWarpSize = 32;
constexpr unsigned kWholeWarp = 0xffffffffu;

PIOU_DEVICE void add_to_count(int64_t* count, int64_t number) {
  atomicAdd(reinterpret_cast<unsigned long long*>(count), static_cast<unsigned long long>(number));
}

}  // namespace pseudo_iou_ops
