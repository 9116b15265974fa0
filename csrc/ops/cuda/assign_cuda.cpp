#include "../assign.h"
#include "launching.h"

namespace pseudo_iou_ops {
namespace {

// The counters of a new or an earlier result lie side by side, so that one memset clears both.
void clear_counters_async(const AssignParams& params, cudaStream_t stream) {
  const auto clear = [=](int64_t* counters, int64_t count) {
    if (count > 0) check_cuda("assign", cudaMemsetAsync(counters, 0, count * sizeof(int64_t), stream));
  };
  const bool are_neighbours = params.pos_per_box == params.num_pos + params.num_images;
  clear(params.num_pos, params.num_images + (are_neighbours ? params.num_boxes : 0));
  if (!are_neighbours) clear(params.pos_per_box, params.num_boxes);
}

// The kernel loads a box at once. Boxes of a view that begins in between are copied; a copy that is freed
// when its kernel has been launched is used again no sooner than by later work of the same stream.
class AlignedBoxes {
 public:
  AlignedBoxes(const std::optional<Tensor>& boxes, cudaStream_t stream) : data_(data_or_null<float>(boxes)) {
    if (is_aligned(data_, 4 * sizeof(float))) return;
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
  static void run(AssignParams params, const CallArguments& arguments) {
    check_assignment(params);
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
