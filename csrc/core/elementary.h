// Elementary functions the losses need. In float32 they are polynomials without a branch or a call, so that a
// compiler turns a loop over them into vector instructions, and every CPU computes the same bits.
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

// exp(x) for x <= 0, to 2 units in the last place. Below -87 it stays at exp(-87) = 1.6e-38, so that the
// result is a normal number above 0.
PIOU_HOST_DEVICE float exp_nonpositive(float x) {
  constexpr float kRounder = 12582912.0f;  // 1.5 * 2^23: added, it leaves the nearest integer in the low bits
  const float clamped = x < -87.0f ? -87.0f : x;
  const float shifted = multiply_add(clamped, 1.44269504f, kRounder);
  const float exponent = shifted - kRounder;
  // ln 2 in two parts; the first has few enough bits for an exact product.
  const float rest = multiply_add(exponent, 2.12194440e-4f, multiply_add(exponent, -0.693359375f, clamped));
  float series = multiply_add(1.381446724e-3f, rest, 8.368780836e-3f);
  series = multiply_add(series, rest, 4.166839272e-2f);
  series = multiply_add(series, rest, 1.666651964e-1f);
  series = multiply_add(series, rest, 4.999999404e-1f);
  const float mantissa = multiply_add(series * rest, rest, rest) + 1.0f;
  return float_of(bits_of(mantissa) + (bits_of(shifted) << 23));
}

PIOU_HOST_DEVICE double exp_nonpositive(double x) { return std::exp(x); }

// What all losses of a logit x are made of, each without cancellation on either side of 0.
template <class Real>
struct Sigmoid {
  Real value;       // sigmoid(x)
  Real complement;  // 1 - sigmoid(x)
  Real log_part;    // log(1 + exp(-|x|)): what softplus(x) has beside max(x, 0)
};

PIOU_HOST_DEVICE Sigmoid<float> sigmoid(float x) {
  const float e = exp_nonpositive(x < 0.0f ? x : -x);
  // log(1 + e) = 2 artanh(s) with s = e / (2 + e); one division serves it and 1 / (1 + e).
  const float one_more = 1.0f + e, two_more = 2.0f + e;
  const float inverse = 1.0f / (one_more * two_more);
  const float larger = two_more * inverse, smaller = e * larger;
  const float s = e * one_more * inverse, square = s * s;
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
