#include "../../kernels/atss_cpu.h"

#include "../atss.h"
#include "parallel.h"

namespace pseudo_iou_ops {
namespace {

constexpr int64_t kPointsPerFill = 16384;
constexpr int64_t kBoxesPerTask = 32;

void fill_outputs(const TopKParams& params) {
  std::fill_n(params.num_pos, params.num_images, int64_t{0});
  std::fill_n(params.pos_per_box, params.num_boxes, int64_t{0});
  const int64_t points = params.num_images * params.num_points;
  run_tasks_in_parallel((points + kPointsPerFill - 1) / kPointsPerFill, [] { return 0; },
                        [&](int, int64_t task) {
                          const int64_t first = task * kPointsPerFill;
                          fill_background(params, first, std::min(kPointsPerFill, points - first));
                        });
}

struct Cpu {
  static void run(const TopKParams& params, const AtssRule& rule, const TopKArguments&) {
    fill_outputs(params);
    const std::vector<BoxTask> tasks = box_tasks(params, kBoxesPerTask);
    std::vector<std::vector<Pick>> picks(tasks.size());
    const auto make_worker = [&] { return AtssWorker(params, rule); };
    const int64_t count = static_cast<int64_t>(tasks.size());
    run_tasks_in_parallel(count, make_worker, [&](AtssWorker& worker, int64_t task) {
      worker.choose(tasks[task], picks[task]);
      for (const Pick& pick : picks[task]) claim(params, tasks[task].image, pick);
    });
    run_tasks_in_parallel(count, make_worker, [&](AtssWorker& worker, int64_t task) {
      const int64_t image = tasks[task].image;
      for (Pick& pick : picks[task]) {
        if (!holds_claim(params, image, pick)) continue;
        if (rule.all_boxes_compete && is_contested(params, image, pick)) worker.give_to_best(image, pick);
        write_positive(params, image, pick, 1.0f);
      }
    });
    if (params.ignore_boxes == nullptr && params.valid_sizes == nullptr) return;
    run_tasks_in_parallel(
        params.num_images, [] { return 0; },
        [&](int, int64_t image) { IgnoredPoints(params, image).write(); });
  }
};

STABLE_TORCH_LIBRARY_IMPL(pseudo_iou_ops, CPU, m) {
  m.impl("assign_atss", TORCH_BOX(assign_atss<Cpu>));
  m.impl("assign_atss.out", TORCH_BOX(assign_atss_out<Cpu>));
}

}  // namespace
}  // namespace pseudo_iou_ops
