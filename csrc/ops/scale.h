// The scale_ op: dense tensors times a number on their device, in place; where it is 1 they are not touched.
// A Backend has `static void run(const ScaleParams&, ScalarType, const Tensor& tensor)`.
#pragma once

#include "../kernels/scale.h"
#include "checks.h"
#include "dispatch.h"

namespace pseudo_iou_ops {

// Whether the values lie side by side, in whatever order.
inline bool is_dense(const Tensor& tensor) {
  int64_t last = 0;
  for (int64_t dim = 0; dim < tensor.dim(); ++dim) last += (tensor.size(dim) - 1) * tensor.stride(dim);
  return tensor.numel() == 0 || last + 1 == tensor.numel();
}

template <class Backend>
void scale(const std::vector<Tensor>& tensors, const Tensor& factor) {
  STD_TORCH_CHECK(!tensors.empty() && tensors.size() <= kMaxLevels, "tensors: expected 1 to ", kMaxLevels,
                  ", got ", tensors.size());
  const ScalarType dtype = tensors[0].scalar_type();
  const ScalarType factor_dtype = dtype == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  STD_TORCH_CHECK(factor.scalar_type() == factor_dtype && factor.numel() == 1, "factor: expected one ",
                  torch::headeronly::toString(factor_dtype), " value");
  check_device("factor", factor, tensors[0]);
  ScaleParams params{};
  for (const Tensor& tensor : tensors) {
    STD_TORCH_CHECK(tensor.scalar_type() == dtype, "tensors: expected one dtype");
    check_device("tensors", tensor, tensors[0]);
    STD_TORCH_CHECK(is_dense(tensor), "tensors: expected dense tensors");
    params.parts[params.num_parts++] = {tensor.mutable_data_ptr(), tensor.numel()};
  }
  params.factor = factor.const_data_ptr();
  Backend::run(params, dtype, tensors[0]);
}

}  // namespace pseudo_iou_ops
