#include "../scale.h"

namespace pseudo_iou_ops {
namespace {

constexpr int64_t kValuesPerTask = 32768;

struct Cpu {
  static void run(const ScaleParams& params, ScalarType dtype, const Tensor&) {
    dispatch_floating("tensors", dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      const Compute<T> factor = *static_cast<const Compute<T>*>(params.factor);
      if (factor == 1) return;
      for (int part = 0; part < params.num_parts; ++part) {
        T* values = static_cast<T*>(params.parts[part].values);
        torch::stable::parallel_for(
            0, params.parts[part].count, kValuesPerTask,
            [&](int64_t begin, int64_t end) { scale_values(values + begin, end - begin, factor); });
      }
    });
  }
};

STABLE_TORCH_LIBRARY_IMPL(pseudo_iou_ops, CPU, m) { m.impl("scale_", TORCH_BOX(&scale<Cpu>)); }

}  // namespace
}  // namespace pseudo_iou_ops
