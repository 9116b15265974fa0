"""The best candidates of each level: against the plain torch form, the detector's way, and by hand."""

from __future__ import annotations

import pytest
import torch
from decode_samples import DecodeSample, crowded_samples, decode_sample, decode_samples, random_sample
from loss_samples import LAYOUTS, box_sample, class_sample, in_layout
from torch import Tensor
from torch._subclasses import FakeTensorMode

from pseudo_iou_ops import decode_topk, level_points
from pseudo_iou_ops.decoding import decode_with_torch

SHAPES = ((7, 9), (4, 5), (1, 1))
OP = torch.ops.pseudo_iou_ops.decode_topk.default
POINTS = level_points(SHAPES, (8, 16, 32))


def inputs(layout: str) -> tuple[list[Tensor], ...]:
    return class_sample(layout).levels, box_sample(layout).levels, class_sample(layout, classes=1, seed=1).levels


def assert_same_bits(actual: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    for field, reference in zip(actual, expected, strict=True):
        assert torch.equal(field, reference)
        assert field.stride() == reference.stride()


@pytest.mark.parametrize("sample", decode_samples() + crowded_samples(), ids=str)
def test_the_plain_form(sample: DecodeSample) -> None:
    result = OP(*sample.args())
    assert_same_bits(result, decode_with_torch(*sample.args()))
    assert result[0].shape == (len(result[3]), len(sample.logits) * sample.k, 4)


@pytest.mark.parametrize("seed", range(200))
def test_the_plain_form_on_random_calls(seed: int) -> None:
    sample = random_sample(seed)
    assert_same_bits(OP(*sample.args()), decode_with_torch(*sample.args()))


def test_the_samples_reach_every_path() -> None:
    found = [OP(*sample.args()[:5], 10**5)[3] for sample in crowded_samples()]
    assert all(int(counts.max()) > 16_384 for counts in found)
    assert max(sample.k for sample in crowded_samples()) > 2048


def test_a_score_is_the_sigmoid() -> None:
    logits = torch.cat((torch.linspace(-90, 90, 9001), torch.linspace(-87.001, -86.999, 101)))
    scores = OP([logits.view(1, -1, 1)], [torch.ones(1, len(logits), 4)], [], torch.zeros(len(logits), 2), -1.0, 9102)[
        1
    ]
    exact = logits.double().sigmoid().sort(descending=True).values
    assert len(exact) == scores.shape[1]
    normal = exact > 1.7e-38
    assert ((scores[0] - exact).abs() <= torch.where(normal, 2e-7 * exact, 1.7e-38)).all()


@pytest.mark.parametrize("k", [3, 70_000])
@pytest.mark.parametrize("step", [0.0, 1.0, 1e6])
def test_any_number_of_threads(step: float, k: int) -> None:
    """One level of one image is shared out; scores differ, are often equal, and nearly always."""
    sample = decode_sample("planes", classes=40, shapes=((70, 80),), images=1, score_threshold=0.0, k=k, step=step)
    expected = decode_with_torch(*sample.args())
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            assert_same_bits(OP(*sample.args()), expected)
    finally:
        torch.set_num_threads(before)


def test_float64_logits_are_rounded_to_float32() -> None:
    logits = torch.tensor([[[1.0, 1.0 + 1e-12, 1.0 + 1e-6]]], dtype=torch.float64)
    result = decode_topk([logits], [torch.ones(1, 1, 4)], torch.zeros(1, 2), k=3)
    assert result.labels.tolist() == [[2, 0, 1]]


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
    torch.library.opcheck(OP, (logits, ltrb, centerness, POINTS, 0.3, 10))


def test_compile() -> None:
    logits, ltrb, centerness = inputs("planes")
    compiled = torch.compile(decode_topk, fullgraph=True, backend="aot_eager")
    assert_same_bits(compiled(logits, ltrb, POINTS, centerness), decode_topk(logits, ltrb, POINTS, centerness))
    torch._dynamo.reset()


def test_export() -> None:
    class Decoder(torch.nn.Module):
        def forward(self, logits: list[Tensor], ltrb: list[Tensor]) -> tuple[Tensor, ...]:
            return decode_topk(logits, ltrb, POINTS, k=20)

    logits, ltrb, _ = inputs("planes")
    program = torch.export.export(Decoder(), (logits, ltrb))
    assert_same_bits(program.module()(logits, ltrb), Decoder()(logits, ltrb))


def test_fake_tensors_on_cuda() -> None:
    with FakeTensorMode():
        logits = [torch.empty(2, 5, *shape, device="cuda") for shape in SHAPES]
        ltrb = [torch.empty(2, 4, *shape, device="cuda") for shape in SHAPES]
        boxes, scores, labels, counts = OP(logits, ltrb, [], torch.empty(84, 2, device="cuda"), 0.3, 10)
    assert [tuple(field.shape) for field in (boxes, scores, labels, counts)] == [(2, 30, 4), (2, 30), (2, 30), (2, 3)]
    assert {field.device.type for field in (boxes, scores, labels, counts)} == {"cuda"}
    assert (labels.dtype, counts.dtype) == (torch.int64, torch.int64)


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
        ("logits", torch.ones(0, 2**16, 2**16)),
        ("k", 0),
        ("k", 2**31),
        ("k", 2.5),
    ],
)
def test_bad_call(argument: str, value: object) -> None:
    logits, ltrb, centerness = inputs("flat")
    call = {"logits": logits, "ltrb": ltrb, "points": POINTS, "centerness": centerness, argument: value}
    with pytest.raises((ValueError, TypeError), match=rf"^{argument}: expected.*got"):
        decode_topk(**call)


def test_a_direct_call_with_too_many_logits_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"logits: expected fewer than 2\^32 - 1"):
        OP([torch.ones(0, 2**16, 2**16)], [torch.ones(0, 2**16, 4)], [], torch.ones(2**16, 2), 0.3, 10)


@pytest.mark.parametrize("argument", ["ltrb", "centerness", "points"])
def test_a_bad_direct_call_is_refused(argument: str) -> None:
    logits, ltrb, centerness = inputs("flat")
    call = {"logits": logits, "ltrb": ltrb, "centerness": centerness, "points": POINTS}
    given = call[argument]
    call[argument] = given[:-1] if isinstance(given, list) else given[:-1].contiguous()
    with pytest.raises(RuntimeError, match=argument):
        torch.ops.pseudo_iou_ops.decode_topk(*call.values(), 0.3, 10)
