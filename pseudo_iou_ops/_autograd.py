"""Autograd for losses whose op makes the gradient in its forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_SAVED: Final = object()  # stands for a tensor among an op's arguments, which autograd keeps

_scale = torch.ops.pseudo_iou_ops.scale_.default


def fused_loss(op: Any, predictions: Sequence[Tensor], *arguments: object) -> Tensor:
    """``op(predictions, *arguments, with_gradients)[0]``, differentiable in the predictions.

    The op returns the loss and, if asked, the gradient of the loss in each prediction.
    """
    if not (torch.is_grad_enabled() and any(prediction.requires_grad for prediction in predictions)):
        loss: Tensor = op([prediction.detach() for prediction in predictions], *arguments, False)[0]
        return loss
    function = _CompiledLoss if torch.compiler.is_compiling() else _EagerLoss
    return function.apply(op, arguments, *predictions)  # type: ignore[no-any-return]


class _EagerLoss(torch.autograd.Function):
    """Keeps the gradient that the forward pass made and scales it in place: no second buffer of its size.

    The predictions are saved for a second backward pass alone, as torch does not tell the first whether one follows.
    That costs no memory where the caller holds them until the backward pass, as a training loop does.
    """

    @staticmethod
    def forward(ctx: Any, op: Any, arguments: tuple[object, ...], *predictions: Tensor) -> Tensor:
        loss, ctx.gradients = op(list(predictions), *arguments, True)
        ctx.op, ctx.num_predictions = op, len(predictions)
        ctx.arguments = [_SAVED if isinstance(value, Tensor) else value for value in arguments]
        ctx.save_for_backward(*predictions, *(value for value in arguments if isinstance(value, Tensor)))
        return loss  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, loss_gradient: Tensor) -> tuple[Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:  # an earlier backward pass over the retained graph has given them away
            gradients = _recompute(ctx)
        _scale(gradients, loss_gradient.detach())
        if torch.is_grad_enabled():  # create_graph=True
            gradients = _Once.apply(ctx.num_predictions, *ctx.saved_tensors[: ctx.num_predictions], *gradients)
        return None, None, *gradients


def _recompute(ctx: Any) -> list[Tensor]:
    predictions, tensors = ctx.saved_tensors[: ctx.num_predictions], iter(ctx.saved_tensors[ctx.num_predictions :])
    arguments = (next(tensors) if value is _SAVED else value for value in ctx.arguments)
    gradients: list[Tensor] = ctx.op(list(predictions), *arguments, True)[1]
    return gradients


class _Once(torch.autograd.Function):
    """Refuses to differentiate gradients again. torch's once_differentiable would let them pass as constants where
    the incoming gradient is one."""

    @staticmethod
    def forward(ctx: Any, num_predictions: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tensors[num_predictions:]

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise RuntimeError("a loss of pseudo_iou_ops: expected to be differentiated once, got a second derivative")


class _CompiledLoss(torch.autograd.Function):
    """The same with a multiplication that the compiler sees, in place of the op that skips a factor of one.

    Inductor makes one kernel of it and of what follows, and writes into the memory of the kept gradient. An op that
    changes its input would be a copy, a launch and a kernel for what follows.
    """

    @staticmethod
    def forward(ctx: Any, op: Any, arguments: tuple[object, ...], *predictions: Tensor) -> Tensor:
        loss, gradients = op(list(predictions), *arguments, True)
        ctx.save_for_backward(*gradients)
        return loss  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, loss_gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *((gradient * loss_gradient).to(gradient.dtype) for gradient in ctx.saved_tensors)
