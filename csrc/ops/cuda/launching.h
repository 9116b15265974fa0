// What every op does around its launch: the stream, the errors.
#pragma once

#include <cstdint>

#include <cuda_runtime_api.h>
#include <torch/csrc/stable/accelerator.h>

#include "../stable.h"

namespace pseudo_iou_ops {

inline void check_cuda(const char* op, cudaError_t error) {
  STD_TORCH_CHECK(error == cudaSuccess, op, ": CUDA error: ", cudaGetErrorString(error));
}

// Kernels store several numbers at once. Only a result that the caller brings can lie elsewhere.
inline void check_alignment(const char* name, const void* memory, size_t bytes) {
  STD_TORCH_CHECK(reinterpret_cast<uintptr_t>(memory) % bytes == 0, name, ": expected memory aligned to ",
                  bytes, " bytes, got a view that begins in between");
}

inline cudaStream_t current_stream(const Tensor& tensor) {
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(tensor.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

}  // namespace pseudo_iou_ops
