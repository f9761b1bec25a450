"""Cross-entropy over a large vocabulary fused with its gradient, so that no logits are kept.

Shapes: N positions, n of them in a chunk, H hidden size, V vocabulary.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffutron.modeling.compiled import fused_on_gpu
from diffutron.modeling.matmul import matmul, wide

MANY_ROWS = 64  # from which the decoder is the faster left factor of a product on a CPU
LARGE_DECODER = 2**23  # elements that no cache holds, so that reading them once is what counts
# Logits of a block of columns. On a CPU they stay in the cache; on a GPU a block is 1 GiB.
BLOCK_LOGITS = {"cpu": 2**19, "cuda": 2**28}
ALIGNED = 128  # columns; a block has a multiple of them
BLOCK_TOKENS = {"cpu": 4096, "cuda": 2**15}  # whose gradient is added at a time


class FusedNLL(torch.autograd.Function):
    """Cross-entropy over `features @ weight.T + bias`, its gradient computed in the forward
    pass.
    """

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        loss_weights: Tensor | None,
        mask_token_id: int,
        chunk_rows: int,
        grad_enabled: bool,
    ) -> Tensor:
        needs_features, needs_weight, needs_bias = (
            grad_enabled and needed for needed in ctx.needs_input_grad[:3]
        )
        ctx.mask_token_id, ctx.chunk_rows = mask_token_id, chunk_rows
        if not (needs_weight or needs_bias) and weight.numel() >= LARGE_DECODER:
            nll, d_features = _online_nll(
                features, weight, bias, targets, mask_token_id, needs_features
            )
            ctx.save_for_backward(features, weight, bias, targets, loss_weights, d_features)
            ctx.totals = None
            return nll
        nll = torch.empty(len(targets), dtype=wide(features.dtype), device=features.device)
        d_features = torch.empty_like(features) if needs_features else None
        fused = (needs_weight or needs_bias) and loss_weights is not None
        totals = _DecoderGradient(weight) if fused else None
        added = _bias_without(mask_token_id, weight, bias)
        room = logits_room(weight, min(chunk_rows, len(targets)))
        for start in range(0, len(targets), chunk_rows):
            part = slice(start, start + chunk_rows)
            if not (needs_features or fused):
                logits = chunk_logits(features[part], weight, bias, mask_token_id, room)
                wanted = logits.gather(1, targets[part, None]).squeeze(1)
                nll[part] = log_normalizer_(logits) - wanted
                continue
            nll[part], d_logits = _derive(features[part], weight, added, targets[part], room)
            d_logits = d_logits.to(weight.dtype)
            if d_features is not None:
                d_features[part] = matmul(d_logits, weight)
            if totals is not None and loss_weights is not None:
                totals.add(d_logits, features[part], loss_weights[part])
        ctx.save_for_backward(features, weight, bias, targets, loss_weights, d_features)
        ctx.totals = totals
        return nll

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        (grad,) = grad_outputs
        features, weight, bias, targets, loss_weights, d_features = ctx.saved_tensors
        if d_features is not None:
            d_features = d_features * grad[:, None].to(d_features.dtype)
        d_weight = d_bias = None
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            totals: _DecoderGradient | None = ctx.totals
            scale = _proportion(grad, loss_weights) if totals is not None else None
            if totals is None or scale is None:
                scale, totals = torch.ones((), device=grad.device), _DecoderGradient(weight)
                added = _bias_without(ctx.mask_token_id, weight, bias)
                room = logits_room(weight, min(ctx.chunk_rows, len(targets)))
                for start in range(0, len(targets), ctx.chunk_rows):
                    part = slice(start, start + ctx.chunk_rows)
                    _, d_logits = _derive(features[part], weight, added, targets[part], room)
                    totals.add(d_logits.to(weight.dtype), features[part], grad[part])
            d_weight = (totals.weight * scale).to(weight.dtype)
            if bias is not None:
                d_bias = (totals.bias * scale).to(bias.dtype)
        return d_features, d_weight, d_bias, None, None, None, None, None


def _online_nll(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    mask_token_id: int,
    needs_features: bool,
) -> tuple[Tensor, Tensor | None]:
    """Cross-entropy and its gradient in one pass over the vocabulary: each row of the decoder is
    read once, for all positions. The sums are rescaled when a higher logit turns up (online
    softmax, Milakov and Gimelshein, arXiv 1805.02867; with a weighted sum of rows as in
    FlashAttention, arXiv 2205.14135, algorithm 1, where the decoder is both keys and values).
    """
    dtype, size = wide(features.dtype), len(weight)
    highest = torch.full((len(targets),), -math.inf, dtype=dtype, device=features.device)
    total = torch.zeros_like(highest)
    mean = (
        torch.zeros(features.shape, dtype=dtype, device=features.device) if needs_features else None
    )
    absorb = _absorb if on_gpu(features) else _absorb_
    added = _bias_without(mask_token_id, weight, bias)
    columns = _block_columns(len(targets), size, features.device.type)
    for start in range(0, size, columns):
        rows = weight[start : start + columns]
        logits = matmul(features, rows.t())
        highest, total, shrink, shares = absorb(
            logits, added[start : start + columns], highest, total, weight.dtype
        )
        if mean is not None:
            mean = torch.addcmul(matmul(shares, rows), mean, shrink[:, None])
    wanted = weight[targets]
    score = (features.to(dtype) * wanted.to(dtype)).sum(dim=1)
    if bias is not None:
        score += bias[targets]
    score = score.masked_fill(targets == mask_token_id, -math.inf)
    nll = highest + total.log() - score
    if mean is None:
        return nll, None
    return nll, (mean / total[:, None] - wanted.to(dtype)).to(features.dtype)


def _block_columns(rows: int, size: int, device: str) -> int:
    """Columns of a block of logits: never the whole vocabulary at once, but two blocks at least.

    The matrix units of a GPU want rows that begin at multiples of 16 bytes: with odd numbers of
    columns a product takes four times as long.
    """
    columns = min(max(BLOCK_LOGITS[device] // max(rows, 1), 256), -(-size // 2))
    return -(-columns // ALIGNED) * ALIGNED if columns >= ALIGNED else columns


def on_gpu(tensor: Tensor) -> bool:
    """Whether the operations on the logits are joined into kernels, which may change no input."""
    return tensor.is_cuda


def _bias_without(mask_token_id: int, weight: Tensor, bias: Tensor | None) -> Tensor:
    """What is added to the logits [V]: the bias, and -inf at the mask token."""
    added = torch.zeros(len(weight), dtype=wide(weight.dtype), device=weight.device)
    if bias is not None:
        added += bias
    added[mask_token_id] = -math.inf
    return added


@fused_on_gpu
def _absorb(
    logits: Tensor, added: Tensor, highest: Tensor, total: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The next columns of the logits [N, n] into the running maximum and sum [N].

    Returns both, the factor of all earlier sums, and exp(logit - maximum) in `dtype`.
    """
    logits = logits + added
    higher = torch.maximum(highest, logits.amax(dim=1))
    exponentials = (logits - higher[:, None]).exp()
    shrink = (highest - higher).exp()
    return higher, total * shrink + exponentials.sum(dim=1), shrink, exponentials.to(dtype)


def _absorb_(
    logits: Tensor, added: Tensor, highest: Tensor, total: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same in the memory of the logits."""
    logits += added
    higher = torch.maximum(highest, logits.amax(dim=1))
    logits.sub_(higher[:, None]).exp_()
    shrink = (highest - higher).exp_()
    return higher, total.mul_(shrink).add_(logits.sum(dim=1)), shrink, logits.to(dtype)


def _derive(
    features: Tensor, weight: Tensor, added: Tensor, targets: Tensor, room: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The cross-entropy [n] of n positions, and its gradient by the logits [n, V]."""
    logits = _products(features, weight, room)
    if on_gpu(features):
        return _derived(logits, added, targets, weight.dtype)
    logits += added
    wanted = logits.gather(1, targets[:, None]).squeeze(1)
    total, log_normalizer = _exponentials_(logits)
    logits.div_(total)
    logits[torch.arange(len(logits)), targets] -= 1
    return log_normalizer - wanted, logits


@fused_on_gpu
def _derived(
    logits: Tensor, added: Tensor, targets: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """The same without a change of the logits, the gradient in `dtype`."""
    logits = logits + added
    highest = logits.amax(dim=1, keepdim=True)
    exponentials = (logits - highest).exp()
    total = exponentials.sum(dim=1, keepdim=True)
    wanted = logits.gather(1, targets[:, None])
    is_target = torch.arange(logits.shape[1], device=logits.device) == targets[:, None]
    gradient = exponentials / total - is_target.to(logits.dtype)
    return (highest + total.log() - wanted).squeeze(1), gradient.to(dtype)


class _DecoderGradient:
    """Sums of the decoder's gradients over the chunks, in float32 or wider."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = torch.zeros_like(weight, dtype=wide(weight.dtype))
        self.bias = torch.zeros(len(weight), dtype=wide(weight.dtype), device=weight.device)

    def add(self, d_logits: Tensor, features: Tensor, loss_weights: Tensor) -> None:
        """d_logits [n, V], each row to be multiplied by its factor, and its features [n, H]."""
        factors = loss_weights[:, None].to(self.weight.dtype)
        features = (features * factors).to(d_logits.dtype)
        size = BLOCK_TOKENS["cuda" if features.is_cuda else "cpu"]
        for start in range(0, len(self.weight), size):
            part = slice(start, start + size)
            if d_logits.dtype == self.weight.dtype:
                self.weight[part].addmm_(d_logits[:, part].t(), features)
            else:
                self.weight[part].add_(matmul(d_logits[:, part].t(), features))
        self.bias.add_(matmul(d_logits.t(), factors.to(d_logits.dtype)).squeeze(1))


def _proportion(grad: Tensor, loss_weights: Tensor) -> Tensor | None:
    """The factor c with grad = c x loss_weights, or None if there is none.

    A GPU takes the word of the caller: to look at the values it would have to be waited for.
    """
    weights = loss_weights.to(grad.dtype)
    c = torch.dot(grad, weights) / torch.dot(weights, weights).clamp_min(1e-30)
    return c if grad.is_cuda or torch.allclose(grad, c * weights, rtol=1e-5, atol=0) else None


def logits_room(weight: Tensor, rows: int) -> Tensor | None:
    """Memory for the logits of so many positions, to be used again and again.

    None on a GPU, where PyTorch keeps what was freed. Fresh memory of this size costs the system
    more time than a small model's product; memory that is never written costs nothing.
    """
    if weight.is_cuda:
        return None
    return weight.new_empty(rows * len(weight), dtype=wide(weight.dtype))


def chunk_logits(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    mask_token_id: int,
    room: Tensor | None = None,
) -> Tensor:
    """Logits [n, V] of n positions, -inf at the mask token; in `room` where that is possible."""
    logits = _products(features, weight, room)
    if bias is not None:
        logits += bias
    logits[:, mask_token_id] = -math.inf
    return logits


def _products(features: Tensor, weight: Tensor, room: Tensor | None) -> Tensor:
    """Features [n, H] by all rows of the decoder, [n, V]."""
    if features.is_cuda or len(features) < MANY_ROWS:
        return matmul(features, weight.t(), room=room)
    return matmul(weight, features.t(), room=room).t()


def log_normalizer_(logits: Tensor) -> Tensor:
    """log sum exp of each row [n] of logits [n, V], which are used up: no copy of them is made."""
    return _exponentials_(logits)[1]


def _exponentials_(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Turns logits [n, V] into exp(logit - highest of the row) in place; returns the sums [n, 1] of
    these, and the log of the normalizer [n].
    """
    highest = logits.amax(dim=1, keepdim=True)
    total = logits.sub_(highest).exp_().sum(dim=1, keepdim=True)
    return total, (highest + total.log()).squeeze(1)
