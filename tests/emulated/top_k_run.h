// What the emulated kernels where boxes choose points share: their arguments, and how they are launched.
#pragma once

#include "arrays.h"

#include "../../csrc/kernels/top_k.cuh"
#include "../../csrc/ops/settings.h"

namespace top_k_run {

using namespace arrays;
using namespace pseudo_iou_ops;

// The first arguments of the ops, in the order of their schemas.
struct Inputs {
  const Array<float>& boxes;
  const Array<int64_t>&labels, &offsets;
  const std::vector<int64_t>& level_shapes;
  const std::vector<double>& strides;
  double offset;
  const py::object &ignore_boxes, &ignore_offsets, &valid_sizes;
};

// The tensors of an `out`.
struct Outputs {
  Array<int64_t>&matched, &labels;
  Array<float>&ltrb, &iou, &score;
  Array<int64_t>&num_pos, &pos_per_box;
};

inline TopKParams make_params(const Inputs& in, const Outputs& out, bool offsets_on_host) {
  TopKParams params{};
  params.boxes = in.boxes.data();
  params.labels = in.labels.data();
  params.offsets = in.offsets.data();
  params.ignore_boxes = data<const float>(in.ignore_boxes);
  params.ignore_offsets = data<const int64_t>(in.ignore_offsets);
  params.valid_sizes = data<const float>(in.valid_sizes);
  params.offsets_on_host = offsets_on_host;
  params.ignore_offsets_on_host = offsets_on_host && params.ignore_offsets != nullptr;
  params.num_images = in.offsets.size() - 1;
  params.num_boxes = in.boxes.shape(0);
  params.num_ignore_boxes = in.ignore_boxes.is_none() ? 0 : py::cast<py::array>(in.ignore_boxes).shape(0);
  set_levels(in.level_shapes, in.strides, in.offset, params);
  params.matched = out.matched.mutable_data();
  params.matched_labels = out.labels.mutable_data();
  params.ltrb = out.ltrb.mutable_data();
  params.iou = out.iou.mutable_data();
  params.score = out.score.mutable_data();
  params.num_pos = out.num_pos.mutable_data();
  params.pos_per_box = out.pos_per_box.mutable_data();
  return params;
}

// Takes the place of launch/*.cu: runs the kernels one after another.
struct Launcher {
  cuda_shim::Schedule schedule;
  unsigned seed;

  template <class Kernel, class... Arguments>
  void operator()(Kernel kernel, int64_t blocks, int threads, const Arguments&... arguments) const {
    cuda_shim::launch(static_cast<unsigned>(blocks), static_cast<unsigned>(threads), schedule, seed,
                      [&] { kernel(arguments...); });
  }
};

}  // namespace top_k_run
