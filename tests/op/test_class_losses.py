"""The classification losses against float64 torch: values, gradients, labels of every kind, layouts, dtypes."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from loss_samples import DTYPES, LAYOUTS, HeadSample, class_sample, class_samples, expected_class_loss
from torch import Tensor

from pseudo_iou_ops import centerness_loss, quality_focal_loss, sigmoid_focal_loss

SAMPLES = class_samples()
UNITS = {torch.float32: 2**-24, torch.float16: 2**-11, torch.bfloat16: 2**-8, torch.float64: 2**-53}

Loss = Callable[[list[Tensor], HeadSample], Tensor]
LOSSES: dict[str, tuple[Loss, Loss]] = {
    "focal": (
        lambda levels, s: sigmoid_focal_loss(levels, s.labels),
        lambda levels, s: expected_class_loss(levels, s.labels, None, 0.75, 0.25, 2),
    ),
    "focal_alpha_gamma": (
        lambda levels, s: sigmoid_focal_loss(levels, s.labels, alpha=0.6, gamma=1.5),
        lambda levels, s: expected_class_loss(levels, s.labels, None, 0.4, 0.6, 1.5),
    ),
    "cross_entropy": (
        lambda levels, s: sigmoid_focal_loss(levels, s.labels, alpha=-1, gamma=0),
        lambda levels, s: expected_class_loss(levels, s.labels, None, 1, 1, 0),
    ),
    "quality": (
        lambda levels, s: quality_focal_loss(levels, s.labels, s.quality),
        lambda levels, s: expected_class_loss(levels, s.labels, s.quality, 1, 1, 2),
    ),
    "quality_beta": (
        lambda levels, s: quality_focal_loss(levels, s.labels, s.quality, beta=1.25),
        lambda levels, s: expected_class_loss(levels, s.labels, s.quality, 1, 1, 1.25),
    ),
}


def with_gradients(loss: Loss, levels: list[Tensor], sample: HeadSample) -> tuple[Tensor, list[Tensor]]:
    leaves = [level.detach().requires_grad_() for level in levels]
    value = loss(leaves, sample)
    value.backward()
    return value.detach(), [leaf.grad for leaf in leaves]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_value_and_gradient(sample: HeadSample, name: str) -> None:
    loss, expected_loss = LOSSES[name]
    value, gradients = with_gradients(loss, sample.levels, sample)
    expected, expected_gradients = with_gradients(expected_loss, [t.double() for t in sample.levels], sample)
    dtype = sample.levels[0].dtype
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(value.double(), expected, rtol=8 * min(UNITS[dtype], 2**-24), atol=0)
    for level, gradient, exact in zip(sample.levels, gradients, expected_gradients, strict=True):
        assert (gradient.dtype, gradient.stride()) == (level.dtype, level.stride())
        tolerance = 16 * 2**-24 if dtype == torch.float32 else (2 if dtype.itemsize == 2 else 16) * UNITS[dtype]
        torch.testing.assert_close(
            gradient.double(), exact, rtol=tolerance, atol=2**-22 if dtype.itemsize < 8 else 1e-13
        )


@pytest.mark.parametrize("gamma", [0.0, 1.5, 2.0])
@pytest.mark.parametrize("alpha", [-1.0, 0.0, 0.25, 1.0])
def test_focal_loss_is_torchvisions(alpha: float, gamma: float) -> None:
    torchvision_loss = pytest.importorskip("torchvision").ops.sigmoid_focal_loss
    sample = class_sample(classes=20, shapes=((16, 16),))
    labels = sample.labels.clamp(min=-1)
    one_hot = (labels.unsqueeze(-1) == torch.arange(20)).float()
    ours = sample.levels[0].clone().requires_grad_()
    theirs = sample.levels[0].clone().requires_grad_()
    loss = sigmoid_focal_loss(ours, labels, alpha, gamma)
    reference = torchvision_loss(theirs, one_hot, alpha, gamma, reduction="sum")
    torch.testing.assert_close(loss, reference, rtol=1e-6, atol=0)
    torch.testing.assert_close(
        *torch.autograd.grad(loss, ours), *torch.autograd.grad(reference, theirs), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", LOSSES)
def test_gradcheck(name: str, layout: str) -> None:
    sample = class_sample(layout, torch.float64, classes=3, shapes=((2, 3), (1, 2)))
    leaves = [level.requires_grad_() for level in sample.levels]
    assert torch.autograd.gradcheck(lambda *levels: LOSSES[name][0](list(levels), sample), leaves)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_centerness_loss(layout: str) -> None:
    sample = class_sample(layout, classes=1)
    value, gradients = with_gradients(
        lambda levels, s: centerness_loss(levels, 7 * s.labels.sign() - 1, s.quality), sample.levels, sample
    )
    positive = 7 * sample.labels.sign() - 1 >= 0
    only_positive = torch.where(positive, 0, -2)
    expected, expected_gradients = with_gradients(
        lambda levels, s: expected_class_loss(levels, only_positive, s.quality, 0, 1, 0), sample.levels, sample
    )
    torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-6, atol=1e-7)


def test_centerness_loss_of_a_logit_per_point() -> None:
    sample = class_sample(classes=1, shapes=((4, 5),))
    labels = sample.labels.clamp(min=-1)
    logits = sample.levels[0].squeeze(-1).requires_grad_()
    loss = centerness_loss(logits, labels, sample.quality)
    assert torch.equal(loss, centerness_loss(logits.unsqueeze(-1), labels, sample.quality))
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.shape == logits.shape


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_labels_mean(layout: str) -> None:
    """-1, C and above: background. Below -1: no loss, and a gradient of 0 whatever the logits are."""
    sample = class_sample(layout, classes=3, shapes=((1, 6),), images=1)
    logits = sample.levels[0]
    background = torch.full((1, 6), -1)
    expected = sigmoid_focal_loss(logits, background)
    for label in (3, 4, 2**31, 2**62):
        assert torch.equal(sigmoid_focal_loss(logits, torch.full((1, 6), label)), expected)
    hidden = in_place(logits, math.nan).requires_grad_()
    for label in (-2, -3, -(2**31), -(2**63)):
        loss = sigmoid_focal_loss(hidden, torch.full((1, 6), label))
        assert loss == 0
        assert torch.equal(*torch.autograd.grad(loss, hidden), torch.zeros_like(hidden))


def in_place(tensor: Tensor, value: float) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride()).fill_(value)


def test_far_logits() -> None:
    logits = torch.tensor([-1e30, -200.0, -87.5, -20.0, 20.0, 87.5, 200.0, 1e30]).view(1, 1, 8)
    for label in (-1, 0, 7):
        for alpha, gamma, weights in ((0.25, 2.0, (0.75, 0.25)), (-1, 0.0, (1, 1)), (0.5, 0.5, (0.5, 0.5))):
            labels = torch.tensor([[label]])
            leaf, exact = logits.clone().requires_grad_(), logits.double().requires_grad_()
            loss = sigmoid_focal_loss(leaf, labels, alpha, gamma)
            expected = expected_class_loss([exact], labels, None, *weights, gamma)
            torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=0)
            (gradient,) = torch.autograd.grad(loss, leaf)
            assert gradient.isfinite().all()
            if gamma >= 1:  # below, torch's own gradient of |x|^gamma is not finite at 0
                (expected_gradient,) = torch.autograd.grad(expected, exact)
                torch.testing.assert_close(gradient.double(), expected_gradient, rtol=1e-5, atol=1e-12)


def test_a_nan_logit_shows() -> None:
    logits = torch.zeros(1, 4, 3)
    logits[0, 2, 1] = math.nan
    assert sigmoid_focal_loss(logits, torch.full((1, 4), -1)).isnan()


def test_quality_equal_to_the_score_has_no_loss() -> None:
    logits = torch.zeros(1, 1, 1, requires_grad=True)
    loss = quality_focal_loss(logits, torch.tensor([[0]]), torch.tensor([[0.5]]))
    loss.backward()
    assert loss == 0
    assert torch.equal(logits.grad, torch.zeros(1, 1, 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_normalizer(dtype: torch.dtype) -> None:
    sample = class_sample()
    plain, plain_gradients = with_gradients(LOSSES["focal"][0], sample.levels, sample)
    value, gradients = with_gradients(
        lambda levels, s: sigmoid_focal_loss(levels, s.labels, normalizer=torch.tensor(3, dtype=dtype)),
        sample.levels,
        sample,
    )
    torch.testing.assert_close(value, plain / 3)
    torch.testing.assert_close(gradients, [gradient / 3 for gradient in plain_gradients])


@pytest.mark.parametrize("shape", [(0, 5, 3), (2, 0, 3), (2, 5, 0)])
def test_nothing_to_learn_from(shape: tuple[int, ...]) -> None:
    logits = torch.zeros(shape, requires_grad=True)
    loss = sigmoid_focal_loss(logits, torch.full(shape[:2], -1))
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert logits.grad.shape == shape


def test_tensors_that_are_not_dense_are_copied() -> None:
    sample = class_sample("planes")
    strided = [level.repeat_interleave(2, dim=3)[..., ::2] for level in sample.levels]
    value, gradients = with_gradients(LOSSES["focal"][0], strided, sample)
    expected, expected_gradients = with_gradients(LOSSES["focal"][0], sample.levels, sample)
    assert torch.equal(value, expected)
    assert all(torch.equal(*pair) for pair in zip(gradients, expected_gradients, strict=True))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layout_does_not_change_a_gradient(layout: str) -> None:
    flat = class_sample(classes=20)
    sample = class_sample(layout, classes=20)
    _, expected = with_gradients(LOSSES["focal"][0], flat.levels, flat)
    _, gradients = with_gradients(LOSSES["focal"][0], sample.levels, sample)
    for gradient, reference in zip(gradients, expected, strict=True):
        rows = gradient.flatten(2).transpose(1, 2) if gradient.ndim == 4 else gradient
        assert torch.equal(rows, reference)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_same_bits_for_any_number_of_threads(layout: str, dtype: torch.dtype) -> None:
    sample = class_sample(layout, dtype, classes=20, shapes=((40, 64), (20, 32)))
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3, 7, 2):
            torch.set_num_threads(threads)
            results.append(with_gradients(LOSSES["focal"][0], sample.levels, sample))
    finally:
        torch.set_num_threads(before)
    for value, gradients in results[1:]:
        assert torch.equal(value, results[0][0])
        assert all(torch.equal(*pair) for pair in zip(gradients, results[0][1], strict=True))


def test_the_sigmoid_and_its_logarithm_are_exact_to_a_few_units() -> None:
    """The float32 polynomials: sigmoid is the gradient of the plain cross entropy, -log(1 - sigmoid) its value."""
    x = torch.linspace(-87, 87, 100_001)
    leaf = x.view(1, -1, 1).clone().requires_grad_()
    labels = torch.full((1, len(x)), -1)
    sigmoid_focal_loss(leaf, labels, alpha=-1, gamma=0).backward()
    error = (leaf.grad.flatten().double() / x.double().sigmoid() - 1).abs().max()
    assert error < 4 * 2**-24
    for value in torch.linspace(-87, 87, 501):
        loss = sigmoid_focal_loss(value.view(1, 1, 1), labels[:, :1], alpha=-1, gamma=0)
        exact = torch.nn.functional.softplus(value.double(), threshold=1e9)
        assert abs(float(loss) / float(exact) - 1) < 6 * 2**-24
