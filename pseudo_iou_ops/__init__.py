"""Label assignment for anchor-free object detectors as one fused call."""

__version__ = "0.1.0"

from . import _registrations as _registrations
from . import presets, reference
from .assign import Assignment, assign
from .assigner import PointAssigner
from .encodings import YoloTargets, to_class_labels, to_mmdetection, to_torchvision, to_yolo
from .metrics import centerness, pseudo_iou, scaled_box
from .packing import pack_boxes, pack_padded
from .points import level_points
from .rule import AssignRule

__all__ = [
    "AssignRule",
    "Assignment",
    "PointAssigner",
    "YoloTargets",
    "assign",
    "centerness",
    "level_points",
    "pack_boxes",
    "pack_padded",
    "presets",
    "pseudo_iou",
    "reference",
    "scaled_box",
    "to_class_labels",
    "to_mmdetection",
    "to_torchvision",
    "to_yolo",
]
