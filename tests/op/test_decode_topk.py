"""The best candidates of each level: against the plain torch form, the detector's way, and by hand."""

from __future__ import annotations

import pytest
import torch
from loss_samples import DTYPES, LAYOUTS, box_sample, class_sample, in_layout
from torch import Tensor

from pseudo_iou_ops import TopK, decode_topk, level_points
from pseudo_iou_ops.decoding import decode_with_torch

SHAPES = ((7, 9), (4, 5), (1, 1))
POINTS = level_points(SHAPES, (8, 16, 32))


def inputs(layout: str, dtype: torch.dtype = torch.float32, classes: int = 5) -> tuple[list[Tensor], ...]:
    logits = class_sample(layout, dtype, classes=classes).levels
    ltrb = box_sample(layout).levels
    centerness = class_sample(layout, dtype, classes=1, seed=1).levels
    return logits, ltrb, centerness


def assert_close(actual: TopK, expected: tuple[Tensor, ...]) -> None:
    for field, reference in zip(actual, expected, strict=True):
        torch.testing.assert_close(field, reference, rtol=1e-6, atol=0)
        assert field.stride() == reference.stride()


@pytest.mark.parametrize("with_centerness", [False, True])
@pytest.mark.parametrize("k", [1, 10, 1000])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_plain_form(layout: str, dtype: torch.dtype, k: int, with_centerness: bool) -> None:
    logits, ltrb, centerness = inputs(layout, dtype)
    result = decode_topk(logits, ltrb, POINTS, centerness if with_centerness else None, 0.3, k)
    assert_close(result, decode_with_torch(logits, ltrb, centerness if with_centerness else [], POINTS, 0.3, k))
    assert result.boxes.shape == (2, 3 * k, 4)
    assert result.counts.sum() > 0


@pytest.mark.parametrize("with_centerness", [False, True])
def test_the_detectors_way(with_centerness: bool) -> None:
    """Threshold on the class, rank by class times centerness, level by level."""
    logits, ltrb, centerness = inputs("flat")
    result = decode_topk(logits, ltrb, POINTS, centerness if with_centerness else None, 0.3, 20)
    for image in range(2):
        first = 0
        for level, (level_logits, level_ltrb, level_centers) in enumerate(zip(logits, ltrb, centerness, strict=True)):
            class_scores = level_logits[image].sigmoid()
            scores = class_scores * level_centers[image].sigmoid() if with_centerness else class_scores
            passing = (class_scores.flatten() > 0.3).nonzero().squeeze(1)
            best = passing[scores.flatten()[passing].argsort(descending=True, stable=True)][:20]
            rows = slice(20 * level, 20 * level + len(best))
            points = POINTS[first + best // 5]
            sides = level_ltrb[image, best // 5]
            boxes = torch.cat((points - sides[:, :2], points + sides[:, 2:]), dim=1)
            assert result.counts[image, level] == len(best)
            assert torch.equal(result.labels[image, rows], best % 5)
            assert torch.equal(result.boxes[image, rows], boxes)
            torch.testing.assert_close(result.scores[image, rows], scores.flatten()[best], rtol=1e-6, atol=0)
            padding = slice(20 * level + len(best), 20 * (level + 1))
            assert (result.labels[image, padding] == -1).all()
            assert not result.scores[image, padding].any()
            assert not result.boxes[image, padding].any()
            first += level_logits.shape[1]


@pytest.mark.parametrize("decode", [lambda *a: decode_topk(a[0], a[1], a[3], None, *a[4:]), decode_with_torch])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_of_equals_the_lower_point_and_class_come_first(layout: str, decode: object) -> None:
    logits = [in_layout(torch.zeros(1, 3, 2, 2), layout)]
    ltrb = [in_layout(torch.ones(1, 4, 2, 2), layout)]
    points = level_points([(2, 2)], [8])
    boxes, scores, labels, counts = decode(logits, ltrb, [], points, 0.25, 7)  # type: ignore[operator]
    assert labels.tolist() == [[0, 1, 2, 0, 1, 2, 0]]
    assert scores.tolist() == [[0.5] * 7]
    assert boxes[0, :, 0].tolist() == [3, 3, 3, 11, 11, 11, 3]
    assert counts.tolist() == [[7]]


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.5, 1.0, 2.0])
def test_thresholds(threshold: float) -> None:
    logits = [torch.tensor([[[-30.0, 0.0, 1e-6, 30.0, float("nan")]]])]
    result = decode_topk(logits, [torch.ones(1, 1, 4)], torch.zeros(1, 2), None, threshold, 5)
    expected = {-1.0: [3, 2, 1, 0], 0.0: [3, 2, 1, 0], 0.5: [3, 2], 1.0: [], 2.0: []}[threshold]
    assert result.labels[0, : result.counts[0, 0]].tolist() == expected


@pytest.mark.parametrize("shape", [(0, 5, 3), (2, 0, 3), (2, 5, 0)])
def test_nothing_to_decode(shape: tuple[int, ...]) -> None:
    images, points, _ = shape
    result = decode_topk([torch.zeros(shape)], [torch.ones(images, points, 4)], torch.zeros(points, 2), k=3)
    assert result.labels.shape == (images, 3)
    assert (result.labels == -1).all()
    assert not result.counts.any()


def test_opcheck() -> None:
    logits, ltrb, centerness = inputs("planes")
    torch.library.opcheck(torch.ops.pseudo_iou_ops.decode_topk.default, (logits, ltrb, centerness, POINTS, 0.3, 10))


def test_compile() -> None:
    logits, ltrb, centerness = inputs("planes")
    compiled = torch.compile(decode_topk, fullgraph=True, backend="aot_eager")
    assert_close(compiled(logits, ltrb, POINTS, centerness), decode_topk(logits, ltrb, POINTS, centerness))
    torch._dynamo.reset()


def test_no_gradient() -> None:
    logits, ltrb, _ = inputs("flat")
    result = decode_topk([level.requires_grad_() for level in logits], ltrb, POINTS)
    assert not any(field.requires_grad for field in result)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("logits", torch.ones(3)),
        ("ltrb", [torch.ones(2, 63, 4)]),
        ("ltrb", [torch.ones(2, 62, 4), torch.ones(2, 20, 4), torch.ones(2, 1, 4)]),
        ("ltrb", [torch.ones(2, 63, 5), torch.ones(2, 20, 5), torch.ones(2, 1, 5)]),
        ("points", torch.ones(84, 3)),
        ("points", torch.ones(84, 2, dtype=torch.int64)),
        ("points", torch.ones(84, 2, device="meta")),
        ("centerness", [torch.ones(2, 63, 1)]),
        ("score_threshold", float("nan")),
        ("score_threshold", "high"),
        ("k", 0),
        ("k", 2.5),
    ],
)
def test_bad_call(argument: str, value: object) -> None:
    logits, ltrb, centerness = inputs("flat")
    call = {"logits": logits, "ltrb": ltrb, "points": POINTS, "centerness": centerness, argument: value}
    with pytest.raises((ValueError, TypeError), match=rf"^{argument}: expected.*got"):
        decode_topk(**call)


@pytest.mark.parametrize("argument", ["ltrb", "centerness", "points"])
def test_a_bad_direct_call_is_refused(argument: str) -> None:
    logits, ltrb, centerness = inputs("flat")
    call = {"logits": logits, "ltrb": ltrb, "centerness": centerness, "points": POINTS}
    given = call[argument]
    call[argument] = given[:-1] if isinstance(given, list) else given[:-1].contiguous()
    with pytest.raises(RuntimeError, match=argument):
        torch.ops.pseudo_iou_ops.decode_topk(*call.values(), 0.3, 10)
