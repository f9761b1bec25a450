"""Cross-entropy over a large vocabulary fused with its gradient, so that no logits are kept.

Shapes: N positions, n of them in a chunk, H hidden size, V vocabulary.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffutron.modeling.matmul import matmul, wide

MANY_ROWS = 64  # from which the decoder is the faster left factor of a product on a CPU
LARGE_DECODER = 2**23  # elements that no cache holds, so that reading them once is what counts
# Logits of a block of columns. On a CPU they stay in the cache; on a GPU a block is 1 GiB.
BLOCK_LOGITS = {"cpu": 2**19, "cuda": 2**28}
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
        room = logits_room(weight, min(chunk_rows, len(targets)))
        for start in range(0, len(targets), chunk_rows):
            part = slice(start, start + chunk_rows)
            logits = chunk_logits(features[part], weight, bias, mask_token_id, room)
            target_logits = logits.gather(1, targets[part, None]).squeeze(1)
            if not (needs_features or fused):
                nll[part] = log_normalizer_(logits) - target_logits
                continue
            lse = _softmax_(logits)
            nll[part] = lse - target_logits
            logits[torch.arange(len(logits), device=logits.device), targets[part]] -= 1
            if d_features is not None:
                d_features[part] = matmul(logits.to(weight.dtype), weight)
            if totals is not None and loss_weights is not None:
                totals.add(logits, features[part], loss_weights[part])
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
                room = logits_room(weight, min(ctx.chunk_rows, len(targets)))
                for start in range(0, len(targets), ctx.chunk_rows):
                    part = slice(start, start + ctx.chunk_rows)
                    logits = chunk_logits(features[part], weight, bias, ctx.mask_token_id, room)
                    _softmax_(logits)
                    logits[torch.arange(len(logits), device=logits.device), targets[part]] -= 1
                    totals.add(logits, features[part], grad[part])
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
    # Never the whole vocabulary at once: two blocks at least.
    columns = min(
        max(BLOCK_LOGITS["cuda" if features.is_cuda else "cpu"] // max(len(targets), 1), 256),
        -(-size // 2),
    )
    for start in range(0, size, columns):
        rows = weight[start : start + columns]
        logits = matmul(features, rows.t())
        if bias is not None:
            logits += bias[start : start + columns]
        if start <= mask_token_id < start + columns:
            logits[:, mask_token_id - start] = -math.inf
        higher = torch.maximum(highest, logits.amax(dim=1))
        logits.sub_(higher[:, None]).exp_()
        shrink = (highest - higher).exp_()
        total.mul_(shrink).add_(logits.sum(dim=1))
        if mean is not None:
            mean.mul_(shrink[:, None]).add_(matmul(logits.to(weight.dtype), rows))
        highest = higher
    wanted = weight[targets]
    score = (features.to(dtype) * wanted.to(dtype)).sum(dim=1)
    if bias is not None:
        score += bias[targets]
    score = score.masked_fill(targets == mask_token_id, -math.inf)
    nll = highest + total.log() - score
    if mean is None:
        return nll, None
    return nll, (mean / total[:, None] - wanted.to(dtype)).to(features.dtype)


class _DecoderGradient:
    """Sums of the decoder's gradients over the chunks, in float32 or wider.

    `d_logits` [n, V] that are added get the factors of their rows in place.
    """

    def __init__(self, weight: Tensor) -> None:
        self.weight = torch.zeros_like(weight, dtype=wide(weight.dtype))
        self.bias = torch.zeros(len(weight), dtype=wide(weight.dtype), device=weight.device)

    def add(self, d_logits: Tensor, features: Tensor, loss_weights: Tensor) -> None:
        d_logits.mul_(loss_weights[:, None].to(d_logits.dtype))
        features = features.to(d_logits.dtype)
        size = BLOCK_TOKENS["cuda" if features.is_cuda else "cpu"]
        for start in range(0, len(self.weight), size):
            part = slice(start, start + size)
            self.weight[part].addmm_(d_logits[:, part].t(), features)
        self.bias.add_(d_logits.sum(dim=0))


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
    if features.is_cuda or len(features) < MANY_ROWS:
        logits = matmul(features, weight.t(), room=room)
    else:
        logits = matmul(weight, features.t(), room=room).t()
    if bias is not None:
        logits += bias
    logits[:, mask_token_id] = -math.inf
    return logits


def log_normalizer_(logits: Tensor) -> Tensor:
    """log sum exp of each row [n] of logits [n, V], which are used up: no copy of them is made."""
    return _exponentials_(logits)[1]


def _softmax_(logits: Tensor) -> Tensor:
    """Turns logits [n, V] into probabilities in place; returns the log of the normalizer [n]."""
    total, log_normalizer = _exponentials_(logits)
    logits.div_(total)
    return log_normalizer


def _exponentials_(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Turns logits [n, V] into exp(logit - highest of the row) in place; returns the sums [n, 1] of
    these, and the log of the normalizer [n].
    """
    highest = logits.amax(dim=1, keepdim=True)
    total = logits.sub_(highest).exp_().sum(dim=1, keepdim=True)
    return total, (highest + total.log()).squeeze(1)
