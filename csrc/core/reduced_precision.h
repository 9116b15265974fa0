// The 16-bit floating types as plain storage, and how a number goes in and out. Torch-free and without a
// branch, so that a loop over them becomes vector instructions; on a GPU the hardware converts.
#pragma once

#include "elementary.h"

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace pseudo_iou_ops {

struct Half {
  uint16_t bits;
};

struct Bfloat16 {
  uint16_t bits;
};

// What a type is computed in.
template <class T>
struct ComputeType {
  using type = float;
};

template <>
struct ComputeType<double> {
  using type = double;
};

template <class T>
using Compute = typename ComputeType<T>::type;

PIOU_HOST_DEVICE float widen(float value) { return value; }
PIOU_HOST_DEVICE double widen(double value) { return value; }

PIOU_HOST_DEVICE float widen(Bfloat16 value) { return float_of(static_cast<uint32_t>(value.bits) << 16); }

PIOU_HOST_DEVICE float widen(Half value) {
#ifdef __CUDA_ARCH__
  return __half2float(__ushort_as_half(value.bits));
#else
  const uint32_t magnitude = (value.bits & 0x7fffu) << 13, sign = (value.bits & 0x8000u) << 16;
  const float scaled = float_of(magnitude) * 5192296858534827628530496329220096.0f;  // 2^112 moves the bias
  const uint32_t special = (value.bits & 0x7fffu) >= 0x7c00u ? 0x7f800000u : 0u;     // infinite or NaN
  return float_of(bits_of(scaled) | special | sign);
#endif
}

template <class T>
PIOU_HOST_DEVICE T narrow(Compute<T> value) {
  return value;
}

// Ties go to even, and NaN stays NaN.
template <>
PIOU_HOST_DEVICE Bfloat16 narrow<Bfloat16>(float value) {
#ifdef __CUDA_ARCH__
  return {__bfloat16_as_ushort(__float2bfloat16_rn(value))};
#else
  const uint32_t bits = bits_of(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return {static_cast<uint16_t>(value == value ? rounded : 0x7fffu)};
#endif
}

template <>
PIOU_HOST_DEVICE Half narrow<Half>(float value) {
#ifdef __CUDA_ARCH__
  return {__half_as_ushort(__float2half_rn(value))};
#else
  const uint32_t sign = (bits_of(value) >> 16) & 0x8000u, bits = bits_of(value) & 0x7fffffffu;
  const uint32_t normal = (bits - (112u << 23) + 0xfffu + ((bits >> 13) & 1u)) >> 13;
  const uint32_t subnormal =
      bits_of(float_of(bits) + 0.5f) - bits_of(0.5f);  // the sum rounds to steps of 2^-24
  uint32_t result = bits < (113u << 23) ? subnormal : normal;
  result = bits >= 0x477ff000u ? 0x7c00u : result;  // from 65520 on
  result = bits > 0x7f800000u ? 0x7fffu : result;
  return {static_cast<uint16_t>(result | sign)};
#endif
}

}  // namespace pseudo_iou_ops
