// What differs between the compilers that read these headers: nvcc, and the host compiler alone.
#pragma once

// Always inlined: a loop that calls a function is not turned into vector instructions.
#ifdef __CUDACC__
#define PIOU_HOST_DEVICE __host__ __device__ __forceinline__
#elif defined(__GNUC__)
#define PIOU_HOST_DEVICE __attribute__((always_inline)) inline
#else
#define PIOU_HOST_DEVICE inline
#endif

// The named array is not reached through another pointer in the same scope.
#define PIOU_RESTRICT __restrict

// A function compiled for several instruction sets; the loader takes the best the CPU has. The sources say
// the order of operations and contraction is off, so all versions compute the same bits.
#if defined(__x86_64__) && defined(__linux__) && defined(__GLIBC__) && defined(__GNUC__) && \
    !defined(__clang__) && !defined(__CUDACC__)
#define PIOU_MULTIVERSION __attribute__((target_clones("default", "avx2", "avx512f"), noinline))
#else
#define PIOU_MULTIVERSION
#endif
