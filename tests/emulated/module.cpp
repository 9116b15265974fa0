// The CUDA kernels on the CPU, over numpy arrays; see cuda_shim.h. Built by build.py, for tests alone.
#include "arrays.h"

#include "../../csrc/ops/settings.h"
#include "assign_run.h"
#include "atss_run.h"
#include "decode.h"
#include "dynamic_k_run.h"
#include "faulty_kernels.h"
#include "losses.h"
#include "task_aligned_run.h"

using namespace arrays;
using namespace assign_run;
using namespace pseudo_iou_ops;

namespace {

void assign(const Array<float>& boxes, const Array<int64_t>& labels, const Array<int64_t>& offsets,
            const std::vector<int64_t>& level_shapes, const std::vector<double>& strides, double offset,
            int64_t metric, double threshold, std::optional<double> ignore_threshold, bool inclusive,
            int64_t order, int64_t resolve, const std::vector<double>& regress_ranges, bool open_ranges,
            bool normalize_by_stride, const py::object& ignore_boxes, const py::object& ignore_offsets,
            const py::object& valid_sizes, Array<int64_t> matched, Array<int64_t> matched_labels,
            Array<float> ltrb, Array<float> pseudo_iou, Array<float> centerness, Array<int64_t> num_pos,
            Array<int64_t> pos_per_box, bool offsets_on_host, const std::string& schedule, unsigned seed,
            int64_t most_images) {
  AssignParams params{};
  set_levels(level_shapes, strides, offset, params);
  set_ranges(regress_ranges, open_ranges, params);
  params.rule =
      make_rule(metric, threshold, ignore_threshold, inclusive, order, resolve, normalize_by_stride);
  params.boxes = boxes.data();
  params.labels = labels.data();
  params.offsets = offsets.data();
  params.ignore_boxes = data<const float>(ignore_boxes);
  params.ignore_offsets = data<const int64_t>(ignore_offsets);
  params.valid_sizes = data<const float>(valid_sizes);
  params.offsets_on_host = offsets_on_host;
  params.ignore_offsets_on_host = offsets_on_host && params.ignore_offsets != nullptr;
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
  run(params, {schedule_named(schedule), seed, most_images});
}

}  // namespace

PYBIND11_MODULE(_emulated, m) {
  m.def("assign", &assign);
  m.def("assign_atss", &atss_run::assign_atss);
  m.def("assign_sim_ota", &dynamic_k_run::assign_sim_ota);
  m.def("assign_soft_label", &dynamic_k_run::assign_soft_label);
  m.def("assign_task_aligned", &task_aligned_run::assign_task_aligned);
  m.def("class_loss", &losses::class_loss);
  m.def("ltrb_loss", &losses::ltrb_loss);
  m.def("scale", &losses::scale);
  m.def("decode_topk", &decoding::decode_topk);
  m.def("run_faulty_kernel", [](const std::string& name, const std::string& schedule, unsigned seed) {
    return faulty::run(name, schedule_named(schedule), seed);
  });
}
