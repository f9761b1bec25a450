"""Matrix products, by oneDNN where PyTorch's own BLAS leaves half of the processor unused.

On x86 PyTorch multiplies float32 matrices by MKL, which on an AMD processor with AVX-512 was
measured at half the speed of oneDNN, which PyTorch carries as well (docs/performance.md).

Shapes: N rows, I inputs and O outputs of a linear layer.
"""

import os
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from diffutron.runtime.errors import UserError
from diffutron.runtime.provenance import processor

CHOICE = "DIFFUTRON_MATMUL"  # blas or onednn, instead of what suits the processor
MKL_MAKER = "GenuineIntel"
# oneDNN makes a kernel for each new shape, which costs what these sizes save:
SMALL_PRODUCT = 2**25  # multiplications
SMALL_WEIGHT = 2**16  # elements of a layer; such models have few layers to use the kernel again


def matmul(left: Tensor, right: Tensor, *, room: Tensor | None = None) -> Tensor:
    """left @ right of two matrices, accumulated and returned in float32 or wider.

    room: a flat tensor that may take the result, so that no memory is asked of the system for it.
    oneDNN has no product that writes into given memory.
    """
    no_grad = not torch.is_grad_enabled()
    if left.is_cuda and left.dtype in (torch.bfloat16, torch.float16) and no_grad:
        return torch.mm(left, right, out_dtype=torch.float32)  # cuda only
    if no_grad and _for_onednn(left, right.shape[1], right):
        return onednn_matmul(left, right)
    if room is not None and no_grad and left.dtype == right.dtype == room.dtype:
        shape = len(left), right.shape[1]
        return torch.mm(left, right, out=room[: shape[0] * shape[1]].view(shape))
    return (left @ right).to(wide(left.dtype))


def wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def use_fast_matmul(model: nn.Module) -> None:
    """Lets the linear layers of `model` choose their products; what is saved of it does not
    change."""
    prefers_onednn()  # a wrong choice is told before anything is computed
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = Linear


class Linear(nn.Linear):
    """A linear layer whose three products are computed by whichever library is faster.

    A weight in pieces (ZeRO-3) is left to DeepSpeed's own function.
    """

    def forward(self, input: Tensor) -> Tensor:
        return fast_linear(input, self.weight, self.bias)


def fast_linear(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """[..., I] to [..., O], as `torch.nn.functional.linear`."""
    whole = weight.numel() >= SMALL_WEIGHT and not hasattr(weight, "ds_id")
    if whole and input.dim() > 1 and _for_onednn(input, len(weight), weight):
        rows = _OneDNNLinear.apply(input.flatten(0, -2), weight, bias)
        return cast(Tensor, rows).unflatten(0, input.shape[:-1])
    return linear(input, weight, bias)


class _OneDNNLinear(torch.autograd.Function):
    """[N, I] to [N, O]."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(rows, weight)
        return onednn_matmul(rows, weight.t(), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        (grad,) = grad_outputs
        rows, weight = ctx.saved_tensors
        needs_rows, needs_weight, needs_bias = ctx.needs_input_grad
        return (
            onednn_matmul(grad, weight) if needs_rows else None,
            weight_gradient(grad, rows) if needs_weight else None,
            grad.sum(dim=0) if needs_bias else None,
        )


def weight_gradient(grad: Tensor, rows: Tensor) -> Tensor:
    """grad^T rows; oneDNN copies a transposed left factor, so that is the smaller one."""
    if rows.shape[1] < grad.shape[1]:
        return onednn_matmul(rows.t(), grad).t()
    return onednn_matmul(grad.t(), rows)


def onednn_matmul(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(left, right.t(), bias, "none", [], "")


def _for_onednn(left: Tensor, columns: int, right: Tensor) -> bool:
    """Whether left [..., K] times right [K, columns] or its transpose is better served so."""
    return (
        left.dtype == right.dtype == torch.float32
        and left.device.type == "cpu"
        and left.numel() * columns >= SMALL_PRODUCT
        and prefers_onednn()
    )


@cache
def prefers_onednn() -> bool:
    """Whether float32 products of this process go to oneDNN."""
    choice = os.environ.get(CHOICE)
    if choice not in (None, "", "blas", "onednn"):
        raise UserError(f"{CHOICE}={choice!r}: set it to blas or onednn, or leave it out")
    if not torch.backends.mkldnn.is_available() or not hasattr(
        torch.ops.mkldnn, "_linear_pointwise"
    ):
        return False
    if choice:
        return choice == "onednn"
    wide_vectors = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return (
        wide_vectors
        and torch.backends.mkl.is_available()
        and (processor("vendor_id") or MKL_MAKER) != MKL_MAKER
    )
