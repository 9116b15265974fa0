// Several values of a type moved by one instruction of 16 bytes.
#pragma once

#include <cstdint>
#include <cstring>

#include "../core/reduced_precision.h"
#include "cuda.h"

namespace pseudo_iou_ops {

constexpr int kVectorBytes = 16;

template <class T>
constexpr int kVectorSize = kVectorBytes / static_cast<int>(sizeof(T));

template <class T>
struct alignas(kVectorBytes) Vector {
  T values[kVectorSize<T>];
};

PIOU_HOST_DEVICE bool is_vector_aligned(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % kVectorBytes == 0;
}

// How many values a vector has where so many are left.
template <class T>
PIOU_DEVICE int vector_count(int64_t left) {
  return left < kVectorSize<T> ? static_cast<int>(left) : kVectorSize<T>;
}

// `count` values from `source`, the rest 0. is_aligned: source is, so that a whole vector is one load.
template <class T>
PIOU_DEVICE Vector<T> load_vector(const T* source, int count, bool is_aligned) {
  Vector<T> vector{};
  if (is_aligned && count == kVectorSize<T>) {
    const uint4 bytes = *reinterpret_cast<const uint4*>(source);
    std::memcpy(&vector, &bytes, kVectorBytes);
    return vector;
  }
  PIOU_UNROLL
  for (int i = 0; i < kVectorSize<T>; ++i) {
    if (i < count) vector.values[i] = source[i];
  }
  return vector;
}

template <class T>
PIOU_DEVICE void store_vector(T* target, const Vector<T>& vector, int count, bool is_aligned) {
  if (is_aligned && count == kVectorSize<T>) {
    uint4 bytes;
    std::memcpy(&bytes, &vector, kVectorBytes);
    __stwb(reinterpret_cast<uint4*>(target), bytes);  // an assignment may be taken apart into single values
    return;
  }
  PIOU_UNROLL
  for (int i = 0; i < kVectorSize<T>; ++i) {
    if (i < count) target[i] = vector.values[i];
  }
}

}  // namespace pseudo_iou_ops
