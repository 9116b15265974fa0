// Predictions as the emulated kernels take them.
#pragma once

#include "losses.h"
#include "top_k_run.h"

#include "../../csrc/core/predictions.h"

namespace predicted_run {

using namespace top_k_run;

// A head's levels as in losses.h, its channels and its type.
inline Head describe_head(const py::tuple& head, int64_t images) {
  return losses::describe_head(head[0].cast<std::vector<py::tuple>>(), images, head[1].cast<int64_t>());
}

inline FloatType type_of(const py::tuple& head) {
  const std::vector<std::string> names{"float32", "float16", "bfloat16", "float64"};  // as in FloatType
  const auto found = std::find(names.begin(), names.end(), head[2].cast<std::string>());
  if (found == names.end()) throw std::invalid_argument("dtype: expected a floating one");
  return static_cast<FloatType>(found - names.begin());
}

inline Predictions make_predictions(const py::tuple& pred_boxes, const py::tuple& scores, int64_t images,
                                    bool boxes_are_ltrb, bool scores_are_logits) {
  return {describe_head(pred_boxes, images),
          describe_head(scores, images),
          type_of(pred_boxes),
          type_of(scores),
          boxes_are_ltrb,
          scores_are_logits};
}

}  // namespace predicted_run
