#include <cstdint>
#include <utility>

#include "../../launch/assign.h"
#include "../assign.h"
#include "launching.h"

namespace pseudo_iou_ops {
namespace {

void clear_async(int64_t* counters, int64_t count, cudaStream_t stream) {
  if (count > 0) check_cuda("assign", cudaMemsetAsync(counters, 0, count * sizeof(int64_t), stream));
}

// Hides a pointer to host memory from the kernel and returns it.
const int64_t* take_host_offsets(const std::optional<Tensor>& offsets, const int64_t*& pointer) {
  if (!offsets.has_value() || offsets->device().type() != DeviceType::CPU) return nullptr;
  return std::exchange(pointer, nullptr);
}

// The kernel stores the four distances of a point at once. Only a result the caller brings can be elsewhere.
void check_alignment(const float* ltrb) {
  STD_TORCH_CHECK(reinterpret_cast<uintptr_t>(ltrb) % (4 * sizeof(float)) == 0,
                  "ltrb: expected memory aligned to 16 bytes, got a view that begins in between");
}

struct Cuda {
  static void run(AssignParams params, const AssignArguments& arguments) {
    check_alignment(params.ltrb);
    const torch::stable::accelerator::DeviceGuard guard(arguments.boxes.get_device_index());
    const cudaStream_t stream = current_stream(arguments.boxes);
    if (params.pos_per_box == params.num_pos + params.num_images) {
      clear_async(params.num_pos, params.num_images + params.num_boxes, stream);
    } else {
      clear_async(params.num_pos, params.num_images, stream);
      clear_async(params.pos_per_box, params.num_boxes, stream);
    }
    const int64_t* host_offsets = take_host_offsets(arguments.offsets, params.offsets);
    const int64_t* host_ignore_offsets = take_host_offsets(arguments.ignore_offsets, params.ignore_offsets);
    STD_TORCH_CHECK(
        (host_offsets == nullptr && host_ignore_offsets == nullptr) || params.num_images <= kMaxImagesByValue,
        "offsets: expected a CUDA tensor for more than ", kMaxImagesByValue, " images, got a CPU tensor");
    check_cuda("assign", launch_assign(params, host_offsets, host_ignore_offsets, stream));
  }
};

STABLE_TORCH_LIBRARY_IMPL(pseudo_iou_ops, CUDA, m) {
  m.impl("assign", TORCH_BOX(assign<Cuda>));
  m.impl("assign.out", TORCH_BOX(assign_out<Cuda>));
}

}  // namespace
}  // namespace pseudo_iou_ops
