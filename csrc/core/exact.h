// Elementary functions in the same bits on every device, for what is discrete: labels, and which candidates
// are kept. Every operation is rounded by itself (-ffp-contract=off, -fmad=false), in the order written here;
// pseudo_iou_ops/_reference_exact.py says the same in torch. exact_exp stands in elementary.h.
#pragma once

#include "box.h"
#include "elementary.h"

namespace pseudo_iou_ops {

// The sigmoid, to 3 units in the last place; 0 below -87, where it is less than 1.7e-38. Not for NaN.
PIOU_HOST_DEVICE float exact_sigmoid(float x) {
  const float away = x < 0.0f ? x : -x;
  const float e = away < -87.0f ? 0.0f : exact_exp(away);
  return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

// log(x) of a finite x > 0, to 2.5 units in the last place.
PIOU_HOST_DEVICE float exact_log(float x) {
  const bool is_subnormal = x < 1.17549435e-38f;                     // 2^-126
  const uint32_t bits = bits_of(is_subnormal ? x * 8388608.0f : x);  // 2^23
  int exponent = static_cast<int>(bits >> 23) - (is_subnormal ? 150 : 127);
  float mantissa = float_of((bits & 0x7fffffu) | 0x3f800000u);
  if (mantissa > 1.41421354f) {
    mantissa = mantissa * 0.5f;
    ++exponent;
  }
  // log(mantissa) = 2 artanh(s).
  const float s = (mantissa - 1.0f) / (mantissa + 1.0f), square = s * s;
  float series = 2.0f / 13.0f;
  series = series * square + 2.0f / 11.0f;
  series = series * square + 2.0f / 9.0f;
  series = series * square + 2.0f / 7.0f;
  series = series * square + 2.0f / 5.0f;
  series = series * square + 2.0f / 3.0f;
  const float rest = (series * square) * s + (s + s), whole = static_cast<float>(exponent);
  // ln 2 in two parts; the first has few enough bits for an exact product.
  return whole * 0.693359375f + (whole * -2.12194440e-4f + rest);
}

// log(1 + exp(x)) of a finite x, to 3 units in the last place; not below exp(-87).
PIOU_HOST_DEVICE float exact_softplus(float x) {
  const float e = exact_exp(x < 0.0f ? x : -x);
  // log(1 + e) = 2 artanh(s).
  const float s = e / (2.0f + e), square = s * s;
  float series = 1.400633305e-1f * square + 1.400083899e-1f;
  series = series * square + 2.001076639e-1f;
  series = series * square + 3.333320916e-1f;
  const float artanh = (series * square) * s + s;
  return (x > 0.0f ? x : 0.0f) + (artanh + artanh);
}

// 10^x, to 1e-5 of it; between exp(-87) and exp(87).
PIOU_HOST_DEVICE float exact_exp10(float x) {
  const float power = exact_exp((x < 0.0f ? x : -x) * 2.30258512f);
  return x > 0.0f ? 1.0f / power : power;
}

// atan(a / b) for a, b > 0, to 2e-7.
PIOU_HOST_DEVICE float exact_atan(float a, float b) {
  const float ratio = minimum(a, b) / maximum(a, b), square = ratio * ratio;
  float series = 0.002622224f;
  series = series * square + -0.0151324505f;
  series = series * square + 0.041121714f;
  series = series * square + -0.07366693f;
  series = series * square + 0.10573926f;
  series = series * square + -0.14185974f;
  series = series * square + 0.19990396f;
  series = series * square + -0.33332986f;
  const float angle = (ratio * square) * series + ratio;
  return a > b ? 1.57079637f - angle : angle;
}

// x^n for n from 0 to 8.
PIOU_HOST_DEVICE float whole_power(float x, int n) {
  const float square = x * x, cube = square * x, fourth = square * square;
  switch (n) {
    case 0:
      return 1.0f;
    case 1:
      return x;
    case 2:
      return square;
    case 3:
      return cube;
    case 4:
      return fourth;
    case 5:
      return fourth * x;
    case 6:
      return cube * cube;
    case 7:
      return (cube * cube) * x;
    default:
      return fourth * fourth;
  }
}

// p^exponent for p in [0, 1] and an exponent of 0 or more; at most 1.
PIOU_HOST_DEVICE float power_of_probability(float p, float exponent) {
  if (exponent == 0.0f) return 1.0f;
  if (exponent == 0.5f) return std::sqrt(p);
  if (exponent == 1.0f) return p;
  if (exponent == 2.0f) return p * p;
  return p > 0.0f ? minimum(exact_exp(exponent * exact_log(p)), 1.0f) : 0.0f;
}

}  // namespace pseudo_iou_ops
