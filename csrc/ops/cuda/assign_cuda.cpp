#include <cstdint>

#include "../../launch/assign.h"
#include "../assign.h"
#include "launching.h"

namespace pseudo_iou_ops {
namespace {

void clear_async(int64_t* counters, int64_t count, cudaStream_t stream) {
  if (count > 0) check_cuda("assign", cudaMemsetAsync(counters, 0, count * sizeof(int64_t), stream));
}

void clear_counters_async(const AssignParams& params, cudaStream_t stream) {
  if (params.counters_adjoin)
    return clear_async(params.num_pos, params.num_images + params.num_boxes, stream);
  clear_async(params.num_pos, params.num_images, stream);
  clear_async(params.pos_per_box, params.num_boxes, stream);
}

// The kernel stores the four distances of a point at once. Only a result the caller brings can be elsewhere.
void check_alignment(const float* ltrb) {
  STD_TORCH_CHECK(reinterpret_cast<uintptr_t>(ltrb) % (4 * sizeof(float)) == 0,
                  "ltrb: expected memory aligned to 16 bytes, got a view that begins in between");
}

struct Cuda {
  static void run(const AssignParams& params, const AssignArguments& arguments) {
    check_alignment(params.ltrb);
    STD_TORCH_CHECK(
        !(params.offsets_on_host || params.ignore_offsets_on_host) || params.num_images <= kMaxImagesByValue,
        "offsets: expected a CUDA tensor for more than ", kMaxImagesByValue, " images, got a CPU tensor");
    const torch::stable::accelerator::DeviceGuard guard(arguments.boxes.get_device_index());
    const cudaStream_t stream = current_stream(arguments.boxes);
    clear_counters_async(params, stream);
    check_cuda("assign", launch_assign(params, stream));
  }
};

STABLE_TORCH_LIBRARY_IMPL(pseudo_iou_ops, CUDA, m) {
  m.impl("assign", TORCH_BOX(assign<Cuda>));
  m.impl("assign.out", TORCH_BOX(assign_out<Cuda>));
}

}  // namespace
}  // namespace pseudo_iou_ops
