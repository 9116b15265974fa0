// What every op does around its launch: the stream, the errors.
#pragma once

#include <cstdint>

#include <cuda_runtime_api.h>
#include <torch/csrc/stable/accelerator.h>

#include "../stable.h"

#ifndef PSEUDO_IOU_OPS_CUDA_ARCHITECTURES  // setup.py tells them
#define PSEUDO_IOU_OPS_CUDA_ARCHITECTURES "unknown"
#endif

namespace pseudo_iou_ops {

// The usual cause of an error, after its own words.
inline const char* hint_of(cudaError_t error) {
  if (error != cudaErrorNoKernelImageForDevice) return "";
  return "; pseudo_iou_ops was built for the GPU architectures " PSEUDO_IOU_OPS_CUDA_ARCHITECTURES
         ": build it again with TORCH_CUDA_ARCH_LIST set to this GPU's compute capability";
}

inline void check_cuda(const char* op, cudaError_t error) {
  STD_TORCH_CHECK(error == cudaSuccess, op, ": CUDA error: ", cudaGetErrorString(error), hint_of(error));
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
