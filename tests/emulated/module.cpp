// The CUDA kernels on the CPU, over numpy arrays; see cuda_shim.h. Built by build.py, for tests alone.
#include "arrays.h"

#include "../../csrc/core/settings.h"
#include "../../csrc/kernels/assign.cuh"
#include "faulty_kernels.h"
#include "losses.h"

using namespace arrays;
using namespace pseudo_iou_ops;

namespace {

// How to run: in which order, and with how many points a thread (0: as launch/assign.cu would).
struct Run {
  cuda_shim::Schedule schedule;
  unsigned seed;
  int points;
};

template <bool kJudgesEveryCandidate, int kPoints, int kCapacity>
void run_kernel(const AssignParams& params, const OffsetTable<kCapacity>& table, const Run& run) {
  const int tiles = static_cast<int>(count_tiles(params, kPoints));
  cuda_shim::launch(static_cast<unsigned>(tiles * params.num_images), kThreads, run.schedule, run.seed,
                    [&] { assign_kernel<kJudgesEveryCandidate, kPoints, kCapacity>(params, table, tiles); });
}

template <int kCapacity>
void run_rule(const AssignParams& params, const OffsetTable<kCapacity>& table, const Run& run) {
  const int points = run.points == 0 ? points_per_thread(params) : run.points;
  if (params.rule.judges_every_candidate()) {
    run_kernel<true, 1>(params, table, run);
  } else if (points == 1) {
    run_kernel<false, 1>(params, table, run);
  } else {
    run_kernel<false, kPointsWhereDense>(params, table, run);
  }
}

// As launch/assign.cu does: a table of offsets in place of the pointers that are on the host.
void run_with_host_offsets(AssignParams params, const Run& run) {
  OffsetTable<kMaxImagesByValue> table;
  std::copy_n(params.offsets, params.num_images + 1, table.offsets);
  params.offsets = nullptr;
  if (params.ignore_offsets != nullptr) {
    std::copy_n(params.ignore_offsets, params.num_images + 1, table.ignore_offsets);
    params.ignore_offsets = nullptr;
  }
  run_rule(params, table, run);
}

void assign(const Array<float>& boxes, const Array<int64_t>& labels, const Array<int64_t>& offsets,
            const std::vector<int64_t>& level_shapes, const std::vector<double>& strides, double offset,
            int64_t metric, double threshold, std::optional<double> ignore_threshold, bool inclusive,
            int64_t order, int64_t resolve, const std::vector<double>& regress_ranges, bool open_ranges,
            bool normalize_by_stride, const py::object& ignore_boxes, const py::object& ignore_offsets,
            const py::object& valid_sizes, Array<int64_t> matched, Array<int64_t> matched_labels,
            Array<float> ltrb, Array<float> pseudo_iou, Array<float> centerness, Array<int64_t> num_pos,
            Array<int64_t> pos_per_box, bool offsets_on_host, const std::string& schedule, unsigned seed,
            int points) {
  AssignParams params{};
  apply_settings({level_shapes, strides, offset, metric, threshold, ignore_threshold, inclusive, order,
                  resolve, regress_ranges, open_ranges, normalize_by_stride},
                 params);
  params.boxes = boxes.data();
  params.labels = labels.data();
  params.offsets = offsets.data();
  params.ignore_boxes = data<const float>(ignore_boxes);
  params.ignore_offsets = data<const int64_t>(ignore_offsets);
  params.valid_sizes = data<const float>(valid_sizes);
  params.num_images = offsets.size() - 1;
  params.num_boxes = boxes.shape(0);
  params.num_ignore_boxes = ignore_boxes.is_none() ? 0 : py::cast<py::array>(ignore_boxes).shape(0);
  params.matched = matched.mutable_data();
  params.matched_labels = matched_labels.mutable_data();
  params.ltrb = ltrb.mutable_data();
  params.pseudo_iou = pseudo_iou.mutable_data();
  params.centerness = centerness.mutable_data();
  params.num_pos = num_pos.mutable_data();
  params.pos_per_box = pos_per_box.mutable_data();
  if (params.num_images == 0 || params.num_points == 0) return;
  const Run run{schedule_named(schedule), seed, points};
  if (offsets_on_host) {
    run_with_host_offsets(params, run);
  } else {
    run_rule(params, OffsetTable<0>{}, run);
  }
}

}  // namespace

PYBIND11_MODULE(_emulated, m) {
  m.def("assign", &assign);
  m.def("class_loss", &losses::class_loss);
  m.def("ltrb_loss", &losses::ltrb_loss);
  m.def("scale", &losses::scale);
  m.def("run_faulty_kernel", [](const std::string& name, const std::string& schedule, unsigned seed) {
    return faulty::run(name, schedule_named(schedule), seed);
  });
}
