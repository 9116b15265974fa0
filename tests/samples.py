"""The calls of `assign` that the correctness, registration, compile, emulated and benchmark suites share.

`sample_inputs()` is a fixed, seeded list of named cases; `every_rule()` is the product of all switches;
`training_batch()` makes batches of any size; `assign_calls()` is the strategy of the differential tests.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from pseudo_iou_ops import AssignRule, Atss
from pseudo_iou_ops.rule import METRIC_TRAITS, METRICS

LevelShapes = tuple[tuple[int, int], ...]

# A 64 x 96 image on FCOS's strides: five levels, 129 points.
LEVEL_SHAPES: LevelShapes = ((8, 12), (4, 6), (2, 3), (1, 2), (1, 1))
STRIDES = (8.0, 16.0, 32.0, 64.0, 128.0)
DEFAULT_RULE = AssignRule()
FCOS_RANGES = ((-1.0, 64.0), (64.0, 128.0), (128.0, 256.0), (256.0, 512.0), (512.0, 1e8))
OPEN_RANGES = ((0.0, 64.0), (64.0, 128.0), (128.0, 256.0), (256.0, 512.0), (512.0, math.inf))


AnySample = TypeVar("AnySample", bound="Sample")


@dataclass(frozen=True, eq=False)
class Sample:
    """The arguments of one call: `assign(*sample.args(), **sample.kwargs())`."""

    name: str
    boxes: Tensor
    labels: Tensor
    offsets: Tensor
    level_shapes: LevelShapes = LEVEL_SHAPES
    strides: tuple[float, ...] = STRIDES
    rule: AssignRule | Atss = DEFAULT_RULE
    offset: float | None = None
    ignore_boxes: Tensor | None = None
    ignore_offsets: Tensor | None = None
    valid_sizes: Tensor | None = None

    def __str__(self) -> str:
        return self.name

    @property
    def num_images(self) -> int:
        return self.offsets.shape[0] - 1

    @property
    def num_points(self) -> int:
        return sum(height * width for height, width in self.level_shapes)

    @property
    def num_pairs(self) -> int:
        """Point-box pairs, the work of a brute-force loop."""
        return self.num_points * self.boxes.shape[0]

    def args(self) -> tuple[Any, ...]:
        return self.boxes, self.labels, self.offsets, self.level_shapes, self.strides, self.rule

    def kwargs(self) -> dict[str, Any]:
        names = ("offset", "ignore_boxes", "ignore_offsets", "valid_sizes")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def to(self: AnySample, device: torch.device | str, offsets_device: torch.device | str | None = None) -> AnySample:
        """Every tensor, and every list of tensors, on `device`; the two offsets on `offsets_device` if given."""
        moved: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                is_offsets = field.name in ("offsets", "ignore_offsets")
                moved[field.name] = value.to(offsets_device if is_offsets and offsets_device else device)
            elif isinstance(value, list):
                moved[field.name] = [level.to(device) for level in value]
        return replace(self, **moved)


def pack(name: str, images: Sequence[Sequence[Sequence[float]]], **arguments: Any) -> Sample:
    """A sample from the boxes of each image as plain lists; labels count up from 10."""
    rows = [box for image in images for box in image]
    return Sample(
        name,
        boxes=torch.tensor(rows, dtype=torch.float64).to(torch.float32).reshape(-1, 4),
        labels=torch.arange(10, 10 + len(rows)),
        offsets=offsets_of(len(image) for image in images),
        **arguments,
    )


def offsets_of(counts: Any) -> Tensor:
    return torch.tensor([0, *itertools.accumulate(counts)], dtype=torch.int64)


def random_boxes(count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """(count, 4) boxes around an image of `size` (h, w): log-uniform sides, some over the edge."""
    height, width = size
    extent = torch.tensor([width, height], dtype=torch.float32)
    center = torch.rand(count, 2, generator=generator) * extent
    sides = extent * torch.exp2(-4.5 * torch.rand(count, 2, generator=generator))
    return torch.cat((center - sides / 2, center + sides / 2), dim=1)


def training_batch(
    image_size: tuple[int, int],
    boxes_per_image: Sequence[int],
    *,
    strides: tuple[float, ...] = STRIDES,
    rule: AssignRule = DEFAULT_RULE,
    seed: int = 0,
) -> Sample:
    """Images of `image_size` (h, w) on a feature pyramid of `strides`, with random boxes and 80 classes."""
    generator = torch.Generator().manual_seed(seed)
    height, width = image_size
    count = sum(boxes_per_image)
    return Sample(
        f"training_batch_{len(boxes_per_image)}x{height}x{width}",
        boxes=random_boxes(count, image_size, generator),
        labels=torch.randint(80, (count,), generator=generator),
        offsets=offsets_of(boxes_per_image),
        level_shapes=tuple((math.ceil(height / s), math.ceil(width / s)) for s in strides),
        strides=strides,
        rule=rule,
    )


def every_rule(num_levels: int = 5) -> Iterator[AssignRule]:
    """Every valid combination of the switches (thresholds at typical values)."""
    for metric, traits in METRIC_TRAITS.items():
        looser = traits.best_threshold * (0.6 if traits.larger_is_stricter else 1.5)
        for ignore_threshold, inclusive, order, resolve, ranges, normalize in itertools.product(
            (None,) if traits.accepts is None else (None, looser),
            (False, True),
            ("choose_then_filter", "filter_then_choose"),
            ("min_area",) if traits.value is None else ("min_area", "max_metric"),
            ((None, "closed"), (FCOS_RANGES[:num_levels], "closed"), (OPEN_RANGES[:num_levels], "open")),
            (False, True),
        ):
            yield AssignRule(
                metric=metric,
                threshold=traits.best_threshold,
                ignore_threshold=ignore_threshold,
                inclusive=inclusive,
                order=order,
                resolve=resolve,
                regress_ranges=ranges[0],
                range_bounds=ranges[1],
                normalize_by_stride=normalize,
            )


# --------------------------------------------------------------------------------------------------------
# The named cases
# --------------------------------------------------------------------------------------------------------


def sample_inputs() -> list[Sample]:
    """Every named case, the same at every call."""
    generator = torch.Generator().manual_seed(2021)
    samples = [
        *_batches(generator),
        *_levels(generator),
        *_exact_cases(),
        *_odd_boxes(),
        *_regions(generator),
        *_malformed_offsets(generator),
        *_dtypes_and_layouts(generator),
        *_rules(generator),
    ]
    names = [sample.name for sample in samples]
    assert len(set(names)) == len(names), "sample names must differ"
    return samples


def registration_inputs() -> list[Sample]:
    """The cases with different signatures, for checks that cost seconds a call (opcheck, compile)."""
    names = {
        "ragged", "no_images", "no_boxes", "no_points", "float16", "strided_boxes",
        "ignore_boxes", "valid_sizes", "every_option",
    }  # fmt: skip
    return [sample for sample in sample_inputs() if sample.name in names]


def op_call(sample: Sample, overload: str = "default") -> tuple[Any, tuple[Any, ...]]:
    """The op that a sample's call runs and its positional arguments, as the dispatcher sees them."""
    from torch.utils._python_dispatch import TorchDispatchMode

    from pseudo_iou_ops import assign, assign_top_k

    function: Callable[..., Any] = assign if isinstance(sample.rule, AssignRule) else assign_top_k
    calls = []

    class Recorder(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func.namespace == "pseudo_iou_ops":
                calls.append((func, tuple(args)))
            return func(*args, **(kwargs or {}))

    out = function(*sample.args(), **sample.kwargs()) if overload == "out" else None
    with Recorder():
        function(*sample.args(), **sample.kwargs(), out=out)
    (call,) = calls
    return call


def _random(name: str, counts: Sequence[int], generator: torch.Generator, **arguments: Any) -> Sample:
    count = sum(counts)
    return Sample(
        name,
        boxes=random_boxes(count, (64, 96), generator),
        labels=torch.randint(80, (count,), generator=generator),
        offsets=offsets_of(counts),
        **arguments,
    )


def _batches(generator: torch.Generator) -> list[Sample]:
    tiny: dict[str, Any] = {"level_shapes": ((3, 4),), "strides": (16.0,)}
    return [
        _random("ragged", (5, 1, 9), generator),
        _random("one_image", (7,), generator),
        _random("empty_image", (4, 0, 6), generator),
        _random("empty_ends", (0, 3, 0), generator),
        _random("no_boxes", (0, 0), generator),
        _random("no_images", (), generator),
        _random("crowd", (60,), generator),
        # More boxes over one spot than any list a thread block may hold, in no order of area.
        _random("more_boxes_than_a_tile_holds", (5000,), generator, **tiny),
        _random("boxes_around_a_warp", (31, 32, 33, 255, 256, 257), generator, **tiny),
        # CPU offsets travel by value up to 1,000 images.
        *(_random(f"{n}_images", (0, 2, 1) * (n // 3) + (1,) * (n % 3), generator, **tiny) for n in (999, 1000, 1001)),
    ]


def _levels(generator: torch.Generator) -> list[Sample]:
    def levels(name: str, shapes: LevelShapes, strides: tuple[float, ...], **arguments: Any) -> Sample:
        return _random(name, (4, 3), generator, level_shapes=shapes, strides=strides, **arguments)

    return [
        levels("no_points", ((0, 0),), (8.0,)),
        levels("empty_levels", ((0, 5), (2, 3), (4, 0)), (8.0, 16.0, 32.0)),
        levels("one_point", ((1, 1),), (64.0,)),
        levels("one_row", ((1, 257),), (0.5,)),
        levels("one_column", ((255, 1),), (0.5,)),
        levels("sizes_around_a_tile", ((31, 33), (33, 31), (17, 65), (3, 127)), (2.0, 3.0, 1.5, 0.75)),
        levels("stride_7", ((10, 14), (5, 7)), (7.0, 14.0)),
        levels("fractional_strides", ((10, 14), (5, 7)), (6.4, 13.7)),
        levels("equal_strides", ((4, 6), (4, 6)), (16.0, 16.0)),
        levels("offset_zero", LEVEL_SHAPES, STRIDES, offset=0.0),
        levels("offset_third", LEVEL_SHAPES, STRIDES, offset=1 / 3),
        levels("offset_negative", LEVEL_SHAPES, STRIDES, offset=-2.5),
        levels("offset_of_the_rule", LEVEL_SHAPES, STRIDES, rule=AssignRule(offset=0.0)),
    ]


def _exact_cases() -> list[Sample]:
    """Values that fall on a comparison: ties, borders, thresholds, range bounds. Points: 4, 12, 20, ..."""
    inclusive = AssignRule(threshold=0.6, inclusive=True)
    strict = AssignRule(threshold=0.6)
    quarter = [[-4, -4, 28, 28]]  # centered on (12, 12): (4, 12), (20, 12), (12, 4), (12, 20) have v = 0.6
    duplicates = [[8, 8, 56, 56], [8, 8, 56, 56], [0, 0, 96, 64], [8, 8, 56, 56], [0, 0, 96, 64]]
    equal_areas = [[0, 0, 32, 16], [0, 0, 16, 32], [4, 4, 36, 20], [0, 0, 64, 8], [0, 0, 8, 64]]
    ulps = [
        [math.nextafter(12, to) if corner in which else corner for corner in (12.0, 12.0, 44.0, 44.0)]
        for which, to in (((12.0,), 0), ((12.0,), 99), ((44.0,), 0), ((44.0,), 99))
    ]
    nudged = [[_ulp_towards(12, to1)] * 2 + [_ulp_towards(44, to2)] * 2 for to1 in (0, 99) for to2 in (0, 99)]
    bounds = [[0, 0, 72, 72], [0, 0, 136, 136], [4, 4, 68, 68], [0, 0, 8, 72]]
    fcos = AssignRule(metric="none", regress_ranges=FCOS_RANGES)
    large = {"level_shapes": ((18, 18), (9, 9), (5, 5), (3, 3), (2, 2))}
    return [
        pack("duplicates", [duplicates, duplicates]),
        pack("duplicates_max_metric", [duplicates], rule=AssignRule(resolve="max_metric")),
        pack("equal_areas", [equal_areas]),
        pack("equal_areas_filter_first", [equal_areas], rule=AssignRule(order="filter_then_choose")),
        # Symmetric about their shared middle line x = 36, so that v ties and the smaller area must win.
        pack(
            "equal_metric",
            [[[4, 4, 68, 68], [20, 4, 52, 68], [20, 4, 52, 68]]],
            rule=AssignRule(resolve="max_metric", metric="scaled_box", threshold=1.0),
        ),
        pack("borders", [[[4, 4, 44, 44], [12, 20, 76, 60], [0, 12, 96, 28]]]),
        pack("borders_one_ulp", [nudged, ulps]),
        pack("threshold_strict", [quarter], rule=strict),
        pack("threshold_inclusive", [quarter], rule=inclusive),
        pack("threshold_in_band", [quarter], rule=AssignRule(threshold=0.7, ignore_threshold=0.6)),
        pack(
            "threshold_in_band_inclusive",
            [quarter],
            rule=replace(inclusive, threshold=0.7, ignore_threshold=0.6),
        ),
        pack("threshold_zero", [quarter], rule=AssignRule(threshold=0.0)),
        pack("scaled_box_strict", [quarter], rule=AssignRule(metric="scaled_box", threshold=0.5)),
        pack(
            "scaled_box_inclusive",
            [quarter],
            rule=AssignRule(metric="scaled_box", threshold=0.5, inclusive=True),
        ),
        # At (4, 4) l + r is not x2 - x1 in float32, and only the former lets the point pass.
        pack(
            "scaled_box_of_rounded_sides",
            [[[-29.03713035583496, -29.03713035583496, 4.691366195678711, 4.691366195678711]]],
            rule=AssignRule(metric="scaled_box", threshold=0.9590039849281311),
        ),
        pack("radius_strict", [quarter], rule=AssignRule(metric="center_radius", threshold=1.0)),
        pack(
            "radius_inclusive",
            [quarter],
            rule=AssignRule(metric="center_radius", threshold=1.0, inclusive=True),
        ),
        pack("range_closed", [bounds, [bounds[0]]], rule=fcos, **large),
        pack("range_open", [bounds, [bounds[0]]], rule=replace(fcos, range_bounds="open"), **large),
        pack("range_of_one_value", [bounds], rule=replace(fcos, regress_ranges=((64.0, 64.0),) * 5), **large),
        # Areas that a float32 key of 1e8 - area can not tell apart; the last row is the smallest.
        pack("nearly_equal_areas", [[[0, 0, 96, 64], [0, 0, 96, 63.99999], [0, 0, 95.99999, 63.99999]]]),
    ]


def _odd_boxes() -> list[Sample]:
    good = [8, 8, 56, 56]
    nan, inf = math.nan, math.inf
    origin = {"level_shapes": ((3, 3),), "strides": (8.0,), "offset": -1.0, "rule": AssignRule(metric="none")}
    degenerate = [[20, 20, 20, 60], [20, 20, 60, 20], [20, 20, 20, 20]]
    inverted = [[60, 20, 20, 60], [20, 60, 60, 20], [60, 60, 20, 20]]
    not_finite = [
        [nan, 0, 96, 64], [0, nan, 96, 64], [0, 0, nan, 64], [0, 0, 96, nan], [nan] * 4,
        [-inf, 0, 96, 64], [0, -inf, 96, 64], [0, 0, inf, 64], [0, 0, 96, inf], [-inf, -inf, inf, inf],
        [inf] * 4, [-inf] * 4, [inf, inf, -inf, -inf], [nan, -inf, inf, nan],
    ]  # fmt: skip
    root = 2.0**31.5  # squares to 2^63
    huge = [
        [-1e30, -1e30, 1e30, 1e30], [-3e38, -3e38, 3e38, 3e38], [-1e18, -1e18, 1e18, 1e18],
        [-(2.0**62), -(2.0**62), 2.0**62, 2.0**62], [-(2.0**62), -1, 2.0**62 * (1 + 2**-22), 65],
        [-root, -root, root, root], [-3e38, 0, 3e38, 64], [0, 0, 1e10, 64], [-1e4, -1e4, 1e4, 1e4],
    ]  # fmt: skip
    small = 2.0**-64  # of half a side: the area is 2^-126, the smallest there is
    tiny = [
        [-1e-19, -1e-19, 1e-19, 1e-19], [-1e-20, -1e-20, 1e-20, 1e-20], [-small, -small, small, small],
        [-1e-40, -1e3, 1e-40, 1e3], [-1e-45, -1e9, 1e-45, 1e9], [-1e-45, -1e-3, 1e-40, 1e3],
        [-1e-30, -1, 1e6, 1],
    ]  # fmt: skip
    return [
        pack("degenerate", [[*degenerate, good], degenerate]),
        pack("inverted", [[*inverted, good], inverted]),
        pack("not_finite", [[*not_finite, good], [good, *not_finite], not_finite]),
        pack("not_finite_any_inside", [[*not_finite, good]], rule=AssignRule(metric="none")),
        pack("huge", [huge, [*huge, good]]),
        pack(
            "huge_max_metric",
            [huge],
            rule=AssignRule(resolve="max_metric", metric="centerness", threshold=0.0),
        ),
        *(
            pack(f"tiny_{metric}", [tiny, *([box] for box in tiny)], **{**origin, "rule": rule})
            for metric, rule in (
                ("none", AssignRule(metric="none")),
                ("pseudo_iou", AssignRule(threshold=0.0, resolve="max_metric")),
                ("centerness", AssignRule(metric="centerness", threshold=0.0, resolve="max_metric")),
                ("scaled_box", AssignRule(metric="scaled_box", threshold=1.0, resolve="max_metric")),
            )
        ),
        pack(
            "one_ulp_wide",
            [[[_ulp_towards(12, 0), 0, _ulp_towards(12, 99), 64]]],
            rule=AssignRule(threshold=0.0),
        ),
        pack("negative_coordinates", [[[-40, -40, 24, 24], [-90, 10, -10, 50], [60, 40, 300, 200]]]),
        pack("outside_the_image", [[[-90, -90, -10, -10], [500, 500, 600, 600]]]),
        pack("between_points", [[[5, 5, 11, 11], [13, 13, 19, 19]]]),
    ]


def _regions(generator: torch.Generator) -> list[Sample]:
    regions = torch.tensor([[0, 0, 40, 40], [30, 20, 96, 64], [12, 12, 44, 44], [50, 0, 50, 64]], dtype=torch.float32)
    region_offsets = torch.tensor([0, 2, 2, 4])
    sizes = torch.tensor([[64, 96], [40, 60], [20, 44]])
    band = AssignRule(ignore_threshold=0.2)
    ignore = {"ignore_boxes": regions, "ignore_offsets": region_offsets}
    odd_regions = torch.tensor([[40, 40, 8, 8], [math.nan, 0, 96, 64], [20, 20, 20, 60]])
    return [
        _random("ignore_boxes", (5, 1, 4), generator, **ignore),
        _random("ignore_boxes_no_boxes", (0, 0, 0), generator, **ignore),
        _random(
            "no_ignore_boxes", (5, 1), generator,
            ignore_boxes=torch.empty(0, 4), ignore_offsets=torch.tensor([0, 0, 0]),
        ),
        _random(
            "odd_ignore_boxes", (5,), generator, ignore_boxes=odd_regions, ignore_offsets=torch.tensor([0, 3])
        ),
        _random("valid_sizes", (5, 1, 4), generator, valid_sizes=sizes),
        _random("valid_sizes_of_nothing", (5, 1), generator, valid_sizes=torch.tensor([[0, 0], [64, 0]])),
        _random("valid_sizes_no_boxes", (0, 0, 0), generator, valid_sizes=sizes),
        _random("band", (5, 1, 4), generator, rule=band),
        _random("band_filter_first", (9, 6), generator, rule=replace(band, order="filter_then_choose")),
        _random(
            "every_option", (9, 0, 6), generator, **ignore, valid_sizes=sizes, offset=0.25,
            rule=replace(band, regress_ranges=FCOS_RANGES, normalize_by_stride=True),
        ),
    ]  # fmt: skip


def _malformed_offsets(generator: torch.Generator) -> list[Sample]:
    cases = {
        "decreasing": [0, 5, 3, 8],
        "past_the_end": [0, 4, 20, 30],
        "negative": [-7, 2, -1, 8],
        "starts_late": [3, 5, 6, 8],
        "ends_early": [0, 1, 2, 3],
        "all_past_the_end": [90, 91, 92, 93],
        "extreme": [-(2**63), 2**63 - 1, -(2**63), 2**63 - 1],
        "overlapping": [0, 8, 0, 8],
    }
    samples = []
    for name, offsets in cases.items():
        sample = _random(f"offsets_{name}", (3, 2, 3), generator)
        samples.append(replace(sample, offsets=torch.tensor(offsets)))
    regions = random_boxes(4, (64, 96), generator)
    sample = _random("ignore_offsets_malformed", (2, 1), generator)
    samples.append(replace(sample, ignore_boxes=regions, ignore_offsets=torch.tensor([9, -3, 7])))
    return samples


def _dtypes_and_layouts(generator: torch.Generator) -> list[Sample]:
    def changed(name: str, change: Callable[[Tensor], Tensor]) -> Sample:
        sample = _random(name, (5, 3), generator)
        return replace(sample, boxes=change(sample.boxes))

    strided_labels = _random("strided_labels", (5, 3), generator)
    strided_offsets = _random("strided_offsets", (5, 3), generator)
    strided_regions = _random("strided_regions", (5, 3), generator)
    return [
        changed("float16", lambda boxes: boxes.half()),
        changed("bfloat16", lambda boxes: boxes.bfloat16()),
        changed("float64", lambda boxes: boxes.double() + 1e-9),
        changed("float64_beyond_float32", lambda boxes: boxes.double() * torch.tensor([1.0, 1.0, 1e300, 1.0])),
        changed("float16_infinite", lambda boxes: (boxes * 1000).half()),
        changed("strided_boxes", lambda boxes: torch.cat((boxes, boxes), 1)[:, ::2][:, [0, 1, 0, 1]].roll(1, 0)),
        changed("columns_of_a_table", lambda boxes: torch.cat((boxes, boxes + 1, boxes), 1)[:, 4:8]),
        changed("every_second_row", lambda boxes: boxes.repeat_interleave(2, dim=0)[::2]),
        changed("transposed", lambda boxes: boxes.t().contiguous().t()),
        changed("expanded", lambda boxes: boxes[:1].expand(8, 4)),
        changed(
            "offset_in_storage",
            lambda boxes: torch.cat((torch.zeros(1, 4), boxes)).flatten()[3:-1].reshape(-1, 4),
        ),
        replace(strided_labels, labels=strided_labels.labels.repeat_interleave(3)[::3]),
        replace(strided_offsets, offsets=strided_offsets.offsets.repeat_interleave(2)[::2]),
        replace(
            strided_regions,
            ignore_boxes=random_boxes(3, (64, 96), generator).t().contiguous().t(),
            ignore_offsets=torch.tensor([0, 9, 1, 9, 3, 9])[::2],
            valid_sizes=torch.tensor([[50, 30], [70, 90]]).t(),
        ),
        replace(_random("large_labels", (5, 3), generator), labels=torch.arange(8) + 2**40),
    ]


def _rules(generator: torch.Generator) -> list[Sample]:
    """One crowded batch under rules that differ in every switch."""
    crowd = _random("crowd", (12, 8), generator, level_shapes=LEVEL_SHAPES)
    rules = {
        "none": AssignRule(metric="none"),
        "centerness": AssignRule(metric="centerness", threshold=0.35),
        "centerness_max_metric": AssignRule(metric="centerness", threshold=0.35, resolve="max_metric"),
        "scaled_box": AssignRule(metric="scaled_box", threshold=0.6),
        "scaled_box_max_metric": AssignRule(metric="scaled_box", threshold=0.6, resolve="max_metric"),
        "center_radius": AssignRule(metric="center_radius", threshold=1.5),
        "center_radius_filter_first": AssignRule(metric="center_radius", threshold=1.5, order="filter_then_choose"),
        "center_radius_band": AssignRule(metric="center_radius", threshold=0.8, ignore_threshold=2.0),
        "scaled_box_band": AssignRule(metric="scaled_box", threshold=0.4, ignore_threshold=1.0),
        "centerness_band_filter_first": AssignRule(
            metric="centerness", threshold=0.6, ignore_threshold=0.3, order="filter_then_choose"
        ),
        "pseudo_iou_max_metric": AssignRule(resolve="max_metric"),
        "pseudo_iou_filter_first": AssignRule(order="filter_then_choose"),
        "pseudo_iou_filter_first_max_metric": AssignRule(order="filter_then_choose", resolve="max_metric"),
        "fcos_ranges": AssignRule(regress_ranges=FCOS_RANGES),
        "fcos_ranges_small": AssignRule(regress_ranges=((-1, 16), (16, 32), (32, 48), (48, 64), (64, math.inf))),
        "open_ranges": AssignRule(regress_ranges=OPEN_RANGES, range_bounds="open", metric="none"),
        "normalized": AssignRule(normalize_by_stride=True),
        "highest_threshold": AssignRule(threshold=math.nextafter(1, 0)),
    }
    return [replace(crowd, name=f"rule_{name}", rule=rule) for name, rule in rules.items()]


def _ulp_towards(value: float, towards: float) -> float:
    return float(np.nextafter(np.float32(value), np.float32(towards)))


# --------------------------------------------------------------------------------------------------------
# Hypothesis
# --------------------------------------------------------------------------------------------------------


def load_hypothesis_profile() -> None:
    """`HYPOTHESIS_PROFILE=ci` asks for 1,000 examples a test, the default for 300; `fuzz`, of `scripts/fuzz.py`, for as
    many as `ci` in each round, without a memory of earlier ones."""
    from hypothesis import HealthCheck, settings

    slow_is_fine = (HealthCheck.too_slow, HealthCheck.data_too_large)
    settings.register_profile("default", max_examples=300, deadline=None, suppress_health_check=slow_is_fine)
    settings.register_profile("ci", parent=settings.get_profile("default"), max_examples=1_000)
    settings.register_profile("fuzz", parent=settings.get_profile("ci"), database=None)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def assign_calls() -> Any:
    """Strategy of small calls full of ties, borders, one-ulp steps, odd values and any rule."""
    # Benchmarks import this module where hypothesis need not be installed.
    from hypothesis import strategies as st

    odd_values = (math.nan, math.inf, -math.inf, 1e30, -1e30, 2.0**62, -(2.0**62), 1e-40, -1e-19, -0.0)

    @st.composite
    def coordinates(draw: Any, stride: float) -> float:
        if draw(st.integers(0, 19)) == 0:
            return draw(st.sampled_from(odd_values))
        # Half strides: the points themselves, the middles between them, and boxes of the same area.
        value = draw(st.integers(-4, 16)) * stride / 2
        step = draw(st.sampled_from((None, None, None, None, -math.inf, math.inf)))
        return value if step is None else _ulp_towards(value, step)

    @st.composite
    def boxes_near(draw: Any, stride: float, count: int) -> list[list[float]]:
        boxes: list[list[float]] = []
        for _ in range(count):
            if boxes and draw(st.integers(0, 4)) == 0:
                boxes.append(draw(st.sampled_from(boxes)))
                continue
            x1, y1, x2, y2 = (draw(coordinates(stride)) for _ in range(4))
            if draw(st.integers(0, 9)) > 0:  # the others keep their order, mostly inverted or without area
                x1, x2, y1, y2 = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
            boxes.append([x1, y1, x2, y2])
        return boxes

    @st.composite
    def any_offsets(draw: Any, images: int, rows: int) -> Tensor:
        if draw(st.integers(0, 9)) == 0:  # malformed
            return torch.tensor([draw(st.integers(-3, rows + 3)) for _ in range(images + 1)], dtype=torch.int64)
        cuts = sorted(draw(st.integers(0, rows)) for _ in range(max(images - 1, 0)))
        return torch.tensor([0, *cuts, rows] if images else [0], dtype=torch.int64)

    @st.composite
    def rules(draw: Any, num_levels: int, stride: float) -> AssignRule:
        metric = draw(st.sampled_from(METRICS))
        traits = METRIC_TRAITS[metric]
        # Values that a metric takes exactly on half-stride grids, and some that none does.
        exact = (0.0, 0.1, 1 / 7, 0.2, 0.25, 1 / 3, 0.4, 0.5, 0.6, 9 / 23, 0.75, 0.9, 1.0, 1.5, 2.0, 3.0)
        valid = [value for value in exact if traits.accepts is None or traits.accepts(value)]
        thresholds = sorted((draw(st.sampled_from(valid)) for _ in range(2)), reverse=traits.larger_is_stricter)
        has_band = traits.accepts is not None and thresholds[0] != thresholds[1] and draw(st.booleans())
        bounds = [0.0, *(stride * k for k in (1, 1.5, 2, 3)), math.inf]
        ranges = tuple(tuple(sorted(draw(st.sampled_from(bounds)) for _ in range(2))) for _ in range(num_levels))
        return AssignRule(
            metric=metric,
            threshold=thresholds[0],
            ignore_threshold=thresholds[1] if has_band else None,
            inclusive=draw(st.booleans()),
            order=draw(st.sampled_from(("choose_then_filter", "filter_then_choose"))),
            resolve=draw(st.sampled_from(("min_area", "max_metric"))) if traits.value is not None else "min_area",
            regress_ranges=ranges if draw(st.integers(0, 2)) == 0 else None,
            range_bounds=draw(st.sampled_from(("closed", "open"))),
            normalize_by_stride=draw(st.booleans()),
        )

    @st.composite
    def calls(draw: Any) -> Sample:
        num_levels = draw(st.integers(1, 3))
        side = st.integers(0, 6)
        stride = draw(st.sampled_from((1.0, 4.0, 7.0, 8.0, 0.3)))
        images = draw(st.integers(0, 3))
        rows = draw(st.integers(0, 7))
        boxes = torch.tensor(draw(boxes_near(stride, rows)), dtype=torch.float32).reshape(-1, 4)
        optional: dict[str, Tensor] = {}
        if draw(st.integers(0, 2)) == 0:
            regions = draw(st.integers(0, 2))
            region_boxes = torch.tensor(draw(boxes_near(stride, regions)), dtype=torch.float32).reshape(-1, 4)
            optional["ignore_boxes"] = region_boxes
            optional["ignore_offsets"] = draw(any_offsets(images, regions))
        if draw(st.integers(0, 2)) == 0:
            sizes = [[draw(st.integers(0, 12)) * stride / 2 for _ in range(2)] for _ in range(images)]
            optional["valid_sizes"] = torch.tensor(sizes, dtype=torch.float32).reshape(-1, 2)
        dtype = draw(st.sampled_from((torch.float32,) * 5 + (torch.float16, torch.bfloat16, torch.float64)))
        return Sample(
            "hypothesis",
            boxes=boxes.to(dtype),
            labels=torch.tensor([draw(st.integers(0, 5)) for _ in range(rows)], dtype=torch.int64),
            offsets=draw(any_offsets(images, rows)),
            level_shapes=tuple((draw(side), draw(side)) for _ in range(num_levels)),
            strides=tuple(stride * 2**level for level in range(num_levels)),
            rule=draw(rules(num_levels, stride)),
            offset=draw(st.sampled_from((None, None, 0.5, 0.0, 0.25, 1 / 3))),
            **optional,
        )

    return calls()
