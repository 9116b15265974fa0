// The table of contents: every op of the library, and what its arguments mean.
#include <Python.h>

#include <string>

#include "ops/stable.h"
#include "source_hash.h"  // setup.py writes it

namespace {

int64_t torch_target_version() { return static_cast<int64_t>(TORCH_TARGET_VERSION); }
std::string source_hash() { return PSEUDO_IOU_OPS_SOURCE_HASH; }

}  // namespace

STABLE_TORCH_LIBRARY(pseudo_iou_ops, m) {
  // Assigns the ground truths of a batch to the points of its feature pyramid; see pseudo_iou_ops.assign.
  //   boxes (M, 4) float32, labels (M,), offsets (B+1,) on the boxes' device or the CPU
  //   level_shapes: H0, W0, H1, W1, ...; strides: one a level; regress_ranges: low0, high0, ... or empty
  //   metric, order, resolve: positions in the lists of pseudo_iou_ops/rule.py
  //   counts (B + M,): num_pos, then pos_per_box
  const std::string assign_inputs =
      "Tensor boxes, Tensor labels, Tensor offsets, SymInt[] level_shapes, float[] strides, float offset, "
      "int metric, float threshold, float? ignore_threshold, bool inclusive, int order, int resolve, "
      "float[] regress_ranges, bool open_ranges, bool normalize_by_stride, "
      "Tensor? ignore_boxes, Tensor? ignore_offsets, Tensor? valid_sizes";
  const std::string assign_schema = "assign(" + assign_inputs +
                                    ") -> (Tensor matched, Tensor matched_labels, Tensor ltrb, Tensor "
                                    "pseudo_iou, Tensor centerness, Tensor counts)";
  m.def(assign_schema.c_str());
  // The same, written into the tensors of an earlier result.
  const std::string assign_out_schema = "assign.out(" + assign_inputs +
                                        ", Tensor(a!) matched, Tensor(b!) matched_labels, Tensor(c!) ltrb, "
                                        "Tensor(d!) pseudo_iou, Tensor(e!) centerness, "
                                        "Tensor(f!) num_pos, Tensor(g!) pos_per_box) -> ()";
  m.def(assign_out_schema.c_str());

  // Lets each box choose points near its center; see pseudo_iou_ops.assign_top_k with an Atss.
  //   the tensors as of assign; the rest are the fields of pseudo_iou_ops/top_k_rules.py's Atss, metric by
  //   position
  const std::string atss_inputs =
      "Tensor boxes, Tensor labels, Tensor offsets, SymInt[] level_shapes, float[] strides, float offset, "
      "Tensor? ignore_boxes, Tensor? ignore_offsets, Tensor? valid_sizes, "
      "int k, int metric, float anchor_scale, bool inclusive, float inside_margin, bool all_boxes_compete";
  const std::string atss_schema = "assign_atss(" + atss_inputs +
                                  ") -> (Tensor matched, Tensor matched_labels, Tensor ltrb, Tensor iou, "
                                  "Tensor score, Tensor num_pos, Tensor pos_per_box)";
  m.def(atss_schema.c_str());
  const std::string atss_out_schema = "assign_atss.out(" + atss_inputs +
                                      ", Tensor(a!) matched, Tensor(b!) matched_labels, Tensor(c!) ltrb, "
                                      "Tensor(d!) iou, Tensor(e!) score, "
                                      "Tensor(f!) num_pos, Tensor(g!) pos_per_box) -> ()";
  m.def(atss_out_schema.c_str());

  // Lets each box choose the points whose predictions fit it best; see pseudo_iou_ops.assign_top_k with a
  // TaskAligned.
  //   pred_boxes, scores: one a level, or one for all, (B, C, H, W) or (B, P, C), as the logits below
  //   the rest are the fields of pseudo_iou_ops/top_k_rules.py's TaskAligned, among by position, keep 0 for
  //   all
  const std::string task_aligned_inputs =
      "Tensor boxes, Tensor labels, Tensor offsets, SymInt[] level_shapes, float[] strides, float offset, "
      "Tensor? ignore_boxes, Tensor? ignore_offsets, Tensor? valid_sizes, Tensor[] pred_boxes, "
      "Tensor[] scores, bool boxes_are_ltrb, bool scores_are_logits, int k, float alpha, int beta, bool "
      "ciou, "
      "bool all_candidates, float inside_margin, float min_side, int among, int keep, float eps";
  const std::string task_aligned_schema =
      "assign_task_aligned(" + task_aligned_inputs +
      ") -> (Tensor matched, Tensor matched_labels, Tensor ltrb, Tensor iou, Tensor score, Tensor num_pos, "
      "Tensor pos_per_box)";
  m.def(task_aligned_schema.c_str());
  const std::string task_aligned_out_schema =
      "assign_task_aligned.out(" + task_aligned_inputs +
      ", Tensor(a!) matched, Tensor(b!) matched_labels, Tensor(c!) ltrb, Tensor(d!) iou, Tensor(e!) score, "
      "Tensor(f!) num_pos, Tensor(g!) pos_per_box) -> ()";
  m.def(task_aligned_out_schema.c_str());

  // The classification losses of a batch; see pseudo_iou_ops.sigmoid_focal_loss, quality_focal_loss and
  // centerness_loss. A logit's loss is weight * |target - sigmoid|^exponent * binary cross entropy.
  //   logits: one a level, (B, C, H, W) or (B, P, C), dense, classes or points last in memory
  //   labels (B, P): -1 and C or more are background, below -1 is ignored; targets (B, P) float32: at the
  //   matched class, 1 if None; normalizer: one float32, 1 if None
  //   gradients: of the loss, one per level in its layout; none unless with_gradients
  m.def(
      "class_loss(Tensor[] logits, Tensor labels, Tensor? targets, Tensor? normalizer, "
      "float negative_weight, float matched_weight, float exponent, bool class_agnostic, "
      "bool with_gradients) -> (Tensor loss, Tensor[] gradients)");
  // The IoU losses of boxes given as distances from their points; see pseudo_iou_ops.ltrb_iou_loss.
  //   predictions: one a level, (B, 4, H, W) or (B, P, 4), as the logits above; targets (B, P, 4) float32
  //   labels (B, P): below 0 a point does not count; weights (B, P) float32: 0 likewise
  //   kind: a position in KINDS of pseudo_iou_ops/ltrb_iou.py
  m.def(
      "ltrb_loss(Tensor[] predictions, Tensor targets, Tensor? labels, Tensor? weights, "
      "Tensor? normalizer, int kind, bool with_gradients) -> (Tensor loss, Tensor[] gradients)");
  // The best candidates of each level; see pseudo_iou_ops.decode_topk.
  //   logits, ltrb (float32), centerness (or none): one a level, as the logits above; points (P, 2) float32
  //   boxes (B, L * k, 4), scores and labels (B, L * k), padded with 0, 0 and -1; counts (B, L)
  m.def(
      "decode_topk(Tensor[] logits, Tensor[] ltrb, Tensor[] centerness, Tensor points, "
      "float score_threshold, int k) -> (Tensor boxes, Tensor scores, Tensor labels, Tensor counts)");
  // Dense tensors times one number on their device, in place.
  m.def("scale_(Tensor(a!)[] tensors, Tensor factor) -> ()");

  // What pseudo_iou_ops.env tells of the build. _C_cuda answers the last three.
  m.def("torch_target_version() -> int");
  m.def("source_hash() -> str");
  m.def("cuda_version() -> int");
  m.def("cuda_architectures() -> str");
  m.def("cuda_source_hash() -> str");
}

STABLE_TORCH_LIBRARY_IMPL(pseudo_iou_ops, CompositeExplicitAutograd, m) {
  m.impl("torch_target_version", TORCH_BOX(&torch_target_version));
  m.impl("source_hash", TORCH_BOX(&source_hash));
}

// Importing the module loads the library, which registers the above; Python itself gets nothing from it.
PyMODINIT_FUNC PyInit__C() {
  static PyModuleDef module = {
      PyModuleDef_HEAD_INIT, "_C", nullptr, -1, nullptr, nullptr, nullptr, nullptr, nullptr};
  return PyModule_Create(&module);
}
