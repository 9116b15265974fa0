// What the ops where boxes choose points share on every device: tensors in, checked; one plain struct out;
// tensors back.
#pragma once

#include "../core/top_k_params.h"
#include "call.h"

namespace pseudo_iou_ops {

inline TopKParams make_params(const CallArguments& a, const CallOutputs& outputs) {
  TopKParams params{};
  set_call(a, outputs, params);
  params.iou = outputs.first_score.mutable_data_ptr<float>();
  params.score = outputs.second_score.mutable_data_ptr<float>();
  return params;
}

// Calls run(params) on new outputs, which it returns, or on given ones, then checked.
template <class Run, class... Outputs>
auto run_top_k(const CallArguments& a, const Run& run, const Outputs&... given) {
  check_call(a);
  if constexpr (sizeof...(given) == 0) {
    const CallOutputs made = allocate_outputs(a, empty(a.boxes, {a.num_images()}, ScalarType::Long),
                                              empty(a.boxes, {a.num_boxes()}, ScalarType::Long));
    run(make_params(a, made));
    return std::make_tuple(made.matched, made.labels, made.ltrb, made.first_score, made.second_score,
                           made.num_pos, made.pos_per_box);
  } else {
    const CallOutputs outputs{given...};
    check_outputs(a, outputs, "iou", "score");
    run(make_params(a, outputs));
  }
}

}  // namespace pseudo_iou_ops
