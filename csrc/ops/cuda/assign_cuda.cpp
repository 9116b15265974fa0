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

// The kernel loads a box at once. Boxes of a view that begins in between are copied; a copy that is freed
// when its kernel has been launched is used again no sooner than by later work of the same stream.
class AlignedBoxes {
 public:
  AlignedBoxes(const std::optional<Tensor>& boxes, cudaStream_t stream) : data_(data_or_null<float>(boxes)) {
    if (reinterpret_cast<uintptr_t>(data_) % (4 * sizeof(float)) == 0) return;
    const int64_t rows = boxes->size(0);
    copy_ = empty(*boxes, {rows, 4}, ScalarType::Float);
    float* const target = copy_->mutable_data_ptr<float>();
    check_cuda("assign",
               cudaMemcpyAsync(target, data_, rows * 4 * sizeof(float), cudaMemcpyDeviceToDevice, stream));
    data_ = target;
  }
  const float* data() const { return data_; }

 private:
  const float* data_;
  std::optional<Tensor> copy_;
};

struct Cuda {
  static void run(AssignParams params, const AssignArguments& arguments) {
    check_alignment(params.ltrb);
    STD_TORCH_CHECK(
        !(params.offsets_on_host || params.ignore_offsets_on_host) || params.num_images <= kMaxImagesByValue,
        "offsets: expected a CUDA tensor for more than ", kMaxImagesByValue, " images, got a CPU tensor");
    const torch::stable::accelerator::DeviceGuard guard(arguments.boxes.get_device_index());
    const cudaStream_t stream = current_stream(arguments.boxes);
    const AlignedBoxes boxes(arguments.boxes, stream), regions(arguments.ignore_boxes, stream);
    params.boxes = boxes.data();
    params.ignore_boxes = regions.data();
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
