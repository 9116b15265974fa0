// What differs between the compilers that read these headers: nvcc, and the host compiler alone.
#pragma once

#ifdef __CUDACC__
#define PIOU_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define PIOU_HOST_DEVICE inline
#endif

// The named array is not reached through another pointer in the same scope.
#define PIOU_RESTRICT __restrict
