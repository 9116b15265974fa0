// The CUDA words the kernels use. nvcc knows them; for the tests the kernels are also compiled by a host
// compiler, whose shim defines the same words before it includes a kernel (tests/emulated).
#pragma once

#ifdef __CUDACC__
#define PIOU_KERNEL __global__
#define PIOU_DEVICE __device__ __forceinline__
#define PIOU_GRID_CONSTANT __grid_constant__
#define PIOU_LAUNCH_BOUNDS(threads) __launch_bounds__(threads)
#define PIOU_SHARED_ARRAY(type, name, count) __shared__ type name[count]
#endif
