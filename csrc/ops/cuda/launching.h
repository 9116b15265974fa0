// What every op needs around its launch: the launches, the stream, the errors.
#pragma once

#include <cstdint>

#include <cuda_runtime_api.h>
#include <torch/csrc/stable/accelerator.h>

#include "../../launch/launch.h"
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

inline bool is_aligned(const void* memory, size_t bytes) {
  return reinterpret_cast<uintptr_t>(memory) % bytes == 0;
}

// What every assignment asks of its call. The four distances of a point are stored at once, and only a result
// that the caller brings can begin in between.
inline void check_assignment(const CallParams& call) {
  STD_TORCH_CHECK(is_aligned(call.ltrb, 4 * sizeof(float)),
                  "ltrb: expected memory aligned to 16 bytes, got a view that begins in between");
  STD_TORCH_CHECK(
      !(call.offsets_on_host || call.ignore_offsets_on_host) || call.num_images <= kMaxImagesByValue,
      "offsets: expected a CUDA tensor for more than ", kMaxImagesByValue, " images, got a CPU tensor");
}

// Of kernels that count the points of an image in 32 bits.
inline void check_points_of_image(const CallParams& call) {
  constexpr int64_t kMostPoints = int64_t{1} << 30;
  STD_TORCH_CHECK(call.num_points <= kMostPoints, "level_shapes: expected at most ", kMostPoints,
                  " points on CUDA, got ", call.num_points);
}

inline cudaStream_t current_stream(const Tensor& tensor) {
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(tensor.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

}  // namespace pseudo_iou_ops
