// From the type of a tensor to the type a kernel is compiled for.
#pragma once

#include "../core/reduced_precision.h"
#include "stable.h"

namespace pseudo_iou_ops {

template <class T>
struct TypeTag {
  using type = T;
};

// Calls function(TypeTag<T>()) with the T that holds a floating type.
template <class Function>
void dispatch_floating(const char* name, ScalarType dtype, const Function& function) {
  switch (dtype) {
    case ScalarType::Float:
      return function(TypeTag<float>());
    case ScalarType::Half:
      return function(TypeTag<Half>());
    case ScalarType::BFloat16:
      return function(TypeTag<Bfloat16>());
    case ScalarType::Double:
      return function(TypeTag<double>());
    default:
      STD_TORCH_CHECK(false, name, ": expected dtype float32, float16, bfloat16 or float64, got ",
                      torch::headeronly::toString(dtype));
  }
}

}  // namespace pseudo_iou_ops
