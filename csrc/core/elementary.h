// Elementary functions the losses need; exact.h has those of the ops whose bits are the same on all devices.
// On a CPU, in float32, they are polynomials without a branch or a call, so that a compiler turns a loop over
// them into vector instructions, and every CPU computes the same bits; a GPU takes its own approximations,
// because no loss has its bits promised across devices.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "macros.h"

namespace pseudo_iou_ops {

// a * b + c: fused on a GPU, rounded twice on a CPU, where not every machine can fuse.
PIOU_HOST_DEVICE float multiply_add(float a, float b, float c) {
#ifdef __CUDA_ARCH__
  return __fmaf_rn(a, b, c);
#else
  return a * b + c;
#endif
}

PIOU_HOST_DEVICE double multiply_add(double a, double b, double c) { return a * b + c; }

PIOU_HOST_DEVICE uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

PIOU_HOST_DEVICE float float_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// exp(x) for x <= 0, to 2 units in the last place, in the same bits everywhere. Below -87 it stays at
// exp(-87) = 1.6e-38, so that the result is a normal number above 0.
PIOU_HOST_DEVICE float exact_exp(float x) {
  constexpr float kRounder = 12582912.0f;  // 1.5 * 2^23: added, it leaves the nearest integer in the low bits
  const float clamped = x < -87.0f ? -87.0f : x;
  const float shifted = clamped * 1.44269504f + kRounder;
  const float exponent = shifted - kRounder;
  // ln 2 in two parts; the first has few enough bits for an exact product.
  const float rest = exponent * 2.12194440e-4f + (exponent * -0.693359375f + clamped);
  float series = 1.381446724e-3f * rest + 8.368780836e-3f;
  series = series * rest + 4.166839272e-2f;
  series = series * rest + 1.666651964e-1f;
  series = series * rest + 4.999999404e-1f;
  const float mantissa = ((series * rest) * rest + rest) + 1.0f;
  return float_of(bits_of(mantissa) + (bits_of(shifted) << 23));
}

// exp(x) for x <= 0: on a CPU the exact one; on a GPU the hardware's power of 2, which ends at 0.
PIOU_HOST_DEVICE float exp_nonpositive(float x) {
#ifdef __CUDA_ARCH__
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x * 1.44269504f));
  return result;
#else
  return exact_exp(x);
#endif
}

PIOU_HOST_DEVICE double exp_nonpositive(double x) { return std::exp(x); }

// What all losses of a logit x are made of, each without cancellation on either side of 0.
template <class Real>
struct Sigmoid {
  Real value;       // sigmoid(x)
  Real complement;  // 1 - sigmoid(x)
  Real log_part;    // log(1 + exp(-|x|)): what softplus(x) has beside max(x, 0)
};

// 1 / a and 1 / b of numbers from 1 to 3: on a CPU by one division, on a GPU by the hardware's approximation.
struct Reciprocals {
  float of_a, of_b;
};

PIOU_HOST_DEVICE Reciprocals reciprocals(float a, float b) {
#ifdef __CUDA_ARCH__
  Reciprocals result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result.of_a) : "f"(a));
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result.of_b) : "f"(b));
  return result;
#else
  const float inverse = 1.0f / (a * b);
  return {b * inverse, a * inverse};
#endif
}

PIOU_HOST_DEVICE Sigmoid<float> sigmoid(float x) {
  const float e = exp_nonpositive(x < 0.0f ? x : -x);
  const Reciprocals inverse = reciprocals(1.0f + e, 2.0f + e);
  const float larger = inverse.of_a, smaller = e * inverse.of_a;
  // log(1 + e) = 2 artanh(s) with s = e / (2 + e).
  const float s = e * inverse.of_b, square = s * s;
  float series = multiply_add(1.400633305e-1f, square, 1.400083899e-1f);
  series = multiply_add(series, square, 2.001076639e-1f);
  series = multiply_add(series, square, 3.333320916e-1f);
  const float artanh = multiply_add(series * square, s, s);
  return {x < 0.0f ? smaller : larger, x < 0.0f ? larger : smaller, artanh + artanh};
}

PIOU_HOST_DEVICE Sigmoid<double> sigmoid(double x) {
  const double e = std::exp(x < 0.0 ? x : -x), larger = 1.0 / (1.0 + e), smaller = e * larger;
  return {x < 0.0 ? smaller : larger, x < 0.0 ? larger : smaller, std::log1p(e)};
}

}  // namespace pseudo_iou_ops
