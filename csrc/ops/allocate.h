// New tensors straight from the allocator: through the dispatcher they cost more than a small call computes.
#pragma once

#include "stable.h"

namespace pseudo_iou_ops {

inline Tensor empty_strided(const Tensor& like, int32_t dtype, int64_t dims, const int64_t* sizes,
                            const int64_t* strides) {
  int32_t device_type;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(like.get(), &device_type));
  AtenTensorHandle handle;
  TORCH_ERROR_CODE_CHECK(
      aoti_torch_empty_strided(dims, sizes, strides, dtype, device_type, like.get_device_index(), &handle));
  return Tensor(handle);
}

// A contiguous tensor on the device of `like`.
template <size_t kDims>
Tensor empty(const Tensor& like, const int64_t (&sizes)[kDims], ScalarType dtype) {
  int64_t strides[kDims];
  int64_t stride = 1;
  for (size_t dim = kDims; dim-- > 0;) {
    strides[dim] = stride;
    stride *= sizes[dim] > 0 ? sizes[dim] : 1;
  }
  const int32_t type = dtype == ScalarType::Long ? aoti_torch_dtype_int64() : aoti_torch_dtype_float32();
  return empty_strided(like, type, kDims, sizes, strides);
}

// A gradient has the type, sizes and strides of its input, so that autograd takes it as it is.
inline Tensor empty_gradient(const Tensor& tensor) {
  int32_t dtype;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(tensor.get(), &dtype));
  return empty_strided(tensor, dtype, tensor.dim(), tensor.sizes().data(), tensor.strides().data());
}

// The parts that a loss is summed from have its type.
inline Tensor empty_parts(const Tensor& loss, int64_t count) {
  int32_t dtype;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(loss.get(), &dtype));
  const int64_t stride = 1;
  return empty_strided(loss, dtype, 1, &count, &stride);
}

// A loss is float32, or float64 if its inputs are.
inline Tensor empty_loss(const Tensor& input) {
  const bool is_double = input.scalar_type() == ScalarType::Double;
  return empty_strided(input, is_double ? aoti_torch_dtype_float64() : aoti_torch_dtype_float32(), 0, nullptr,
                       nullptr);
}

}  // namespace pseudo_iou_ops
