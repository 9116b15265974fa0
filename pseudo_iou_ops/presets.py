"""The assignment rules of the paper and of its peers, each one a frozen dataclass.

Change one switch of a preset with ``dataclasses.replace(presets.paper, threshold=0.5)``.
"""

from __future__ import annotations

from math import inf

from .rule import AssignRule
from .top_k_rules import Atss, SimOta, SoftLabel, TaskAligned

# FCOS (Tian et al. 2019, section 3.2): level i regresses max(l, t, r, b) in (m[i-1], m[i]]. mmdetection's
# FCOSHead writes the ends as -1 and 1e8 and includes both bounds.
FCOS_RANGES = ((-1.0, 64.0), (64.0, 128.0), (128.0, 256.0), (256.0, 512.0), (512.0, 1e8))
# torchvision and detectron2 derive (4, 8) strides from the level and open the ends: 0 and infinity.
STRIDE_RANGES = ((0.0, 64.0), (64.0, 128.0), (128.0, 256.0), (256.0, 512.0), (512.0, inf))

paper = AssignRule()
"""The paper as printed: Pseudo-IoU above 0.4 (section 4.2, best of Table 1a; ``>`` by section 3.2), points of
every level ("all points on the feature maps", section 3.2), the smallest of several boxes."""

paper_baseline = AssignRule(metric="none")
"""The paper's anchor-free baseline: all points inside a box are positive (section 4.3)."""

authors_code = AssignRule(regress_ranges=FCOS_RANGES)
"""The released method: FCOS assignment first (regression ranges closed at both ends, smallest area), then the
Pseudo-IoU filter ``> 0.4`` on the chosen box; a point that fails is background. Their configurations also divide
the targets by the stride: ``dataclasses.replace(presets.authors_code, normalize_by_stride=True)``."""

fcos = AssignRule(metric="center_radius", threshold=1.5, order="filter_then_choose", regress_ranges=FCOS_RANGES)
"""FCOS with center sampling, radius 1.5, as in mmdetection's FCOSHead: only points near a box's center are its
candidates, so the filter comes before the choice; ranges closed."""

torchvision_fcos = AssignRule(
    metric="center_radius",
    threshold=1.5,
    order="filter_then_choose",
    regress_ranges=STRIDE_RANGES,
    range_bounds="open",
    offset=0.0,
)
"""torchvision's FCOS: center sampling 1.5, ranges open at both ends, points at the corner of their cell. Its
float32 key ``1e8 - area`` ties boxes that differ by less than about 8 square pixels; here areas are compared
exactly."""

detectron2_fcos = AssignRule(
    metric="center_radius",
    threshold=1.5,
    order="filter_then_choose",
    regress_ranges=STRIDE_RANGES,
    range_bounds="open",
)
"""detectron2's FCOS: as torchvision's, with points in the middle of their cell. The same note on areas holds."""

atss = Atss(inside_margin=0.01, offset=0.0)
"""ATSS (Zhang et al. 2020) as in mmdetection: 9 points a level, anchors of 8 strides on the corners of the cells."""

pp_yoloe_atss = Atss(anchor_scale=5.0, inclusive=False, among="all")
"""ATSS as PP-YOLOE begins with, in PaddleDetection: anchors of 5 strides in the middle of the cells, positives above
the threshold, and all boxes of the image compete for a point that several chose."""

pseudo_iou_atss = Atss(metric="product")
"""ATSS by Pseudo-IoU times the IoU of the anchor: the paper's metric with a threshold of its own for every box."""

tood = TaskAligned(candidates="all", inside_margin=0.01, eps=1e-7, offset=0.0)
"""TOOD (Feng et al. 2021) as in mmdetection: points outside a box take places among its 13 and are dropped then;
points lie on the corners of their cells."""

pp_yoloe = TaskAligned(among="all")
"""PP-YOLOE's task-aligned assignment, in PaddleDetection."""

yolov8 = TaskAligned(k=10, alpha=0.5, iou="ciou", among="holders", min_side=16.0)
"""What YOLOv8 and later assign by; ``min_side`` is the stride of the second level."""

simota = SimOta()
"""SimOTA (Ge et al. 2021) as in mmdetection: points of the boxes and of their centers of 2.5 strides."""

yolox = SimOta(radius=1.5, region="center", eps=1e-8)
"""SimOTA as in YOLOX since its version 0.3: points of the centers of 1.5 strides alone."""

rtmdet = SoftLabel(offset=0.0)
"""Dynamic soft labels as RTMDet assigns by (Lyu et al. 2022), in mmdetection; points on the corners of their cells."""
