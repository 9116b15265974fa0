#include "../../kernels/decode_cpu.h"

#include "../decode.h"
#include "parallel.h"

namespace pseudo_iou_ops {
namespace {

struct Cpu {
  static void run(const DecodeParams& params, ScalarType dtype, const Tensor&) {
    const std::vector<DecodeTask> tasks = decode_tasks(params);
    std::vector<std::vector<uint64_t>> found(tasks.size());
    dispatch_floating("logits", dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      run_tasks_in_parallel(
          static_cast<int64_t>(tasks.size()), [&] { return CandidateFinder<T>(params); },
          [&](CandidateFinder<T>& finder, int64_t task) { found[task] = finder.run(tasks[task]); });
    });
    run_tasks_in_parallel(
        params.logits.num_images * params.logits.num_levels,
        [&] { return CandidateWriter(params, tasks, found); },
        [](CandidateWriter& writer, int64_t slice) { writer.run(slice); });
  }
};

STABLE_TORCH_LIBRARY_IMPL(pseudo_iou_ops, CPU, m) { m.impl("decode_topk", TORCH_BOX(&decode_topk<Cpu>)); }

}  // namespace
}  // namespace pseudo_iou_ops
