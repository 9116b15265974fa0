"""Label assignment for anchor-free object detectors as one fused call."""

__version__ = "0.1.0"

from . import _registrations as _registrations
from . import presets, reference, reference_top_k
from .assigner import PointAssigner
from .assignment import BACKGROUND, IGNORED, Assignment, assign
from .class_losses import centerness_loss, quality_focal_loss, sigmoid_focal_loss
from .decoding import TopK, decode_topk
from .encodings import YoloTargets, to_class_labels, to_mmdetection, to_torchvision, to_yolo
from .ltrb_iou import ltrb_iou_loss
from .metrics import centerness, pseudo_iou, scaled_box
from .packing import pack_boxes, pack_padded
from .points import level_points
from .protocols import Assigner, AssignmentLike, PointPredictions
from .rule import AssignRule
from .top_k import TopKAssignment, assign_top_k
from .top_k_assigner import TopKAssigner, make_assigner
from .top_k_rules import Atss, SimOta, SoftLabel, TaskAligned

__all__ = [
    "BACKGROUND",
    "IGNORED",
    "AssignRule",
    "Assigner",
    "Assignment",
    "AssignmentLike",
    "Atss",
    "PointAssigner",
    "PointPredictions",
    "SimOta",
    "SoftLabel",
    "TaskAligned",
    "TopK",
    "TopKAssigner",
    "TopKAssignment",
    "YoloTargets",
    "assign",
    "assign_top_k",
    "centerness",
    "centerness_loss",
    "decode_topk",
    "level_points",
    "ltrb_iou_loss",
    "make_assigner",
    "pack_boxes",
    "pack_padded",
    "presets",
    "pseudo_iou",
    "quality_focal_loss",
    "reference",
    "reference_top_k",
    "scaled_box",
    "sigmoid_focal_loss",
    "to_class_labels",
    "to_mmdetection",
    "to_torchvision",
    "to_yolo",
]
