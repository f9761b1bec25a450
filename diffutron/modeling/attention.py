"""Attention of packed rows, computed where samples can see each other and hardly elsewhere.

On a CPU a sliding layer goes block by block: the queries of a block meet the keys within their
window alone. On a GPU all samples go through PyTorch's variable-length kernel, without padding
and without masks. Both give what masked attention over whole rows gives.

Shapes: R rows, W their width, A attention heads, D size of a head, T real tokens, S samples.
"""

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from diffutron.modeling.head import unwrap_masked_lm

NAME = "diffutron_packed"
BLOCK = 128  # queries of a block; twice the window of a ModernBERT


def use_packed_attention(model: nn.Module) -> None:
    """Lets the encoder attend by `packed_attention`; what is saved of the model does not change."""
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, packed_attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, sdpa_mask)
    unwrap_masked_lm(model).set_attn_implementation(NAME)


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    sample_bounds: Tensor | None = None,
    longest: int = 0,
    **_: Any,
) -> tuple[Tensor, None]:
    """Softmax attention as transformers asks for it: [R, A, W, D] to [R, W, A, D].

    attention_mask: bool [R, 1, W, W], already cut to the window in a sliding layer.
    sliding_window: the window plus one, in a sliding layer. sample_bounds: int32 [S + 1], where
    samples begin in a single row without padding, for the GPU's kernel.
    """
    if sample_bounds is not None:
        window = -1 if sliding_window is None else sliding_window - 1  # cuda only
        packed = [x[0].transpose(0, 1) for x in (query, key, value)]  # cuda only
        return _varlen(packed, sample_bounds, longest, scaling, window), None  # cuda only
    width = query.shape[2]
    if sliding_window is None or attention_mask is None or width <= BLOCK:
        mixed = _attend(query, key, value, attention_mask, dropout=dropout, scaling=scaling)
        return mixed.transpose(1, 2).contiguous(), None
    blocks: list[Tensor] = []
    for start, stop in pairwise([*range(0, width, BLOCK), width]):
        seen = slice(max(0, start - sliding_window), stop + sliding_window)
        mixed = _attend(
            query[:, :, start:stop],
            key[:, :, seen],
            value[:, :, seen],
            attention_mask[:, :, start:stop, seen],
            dropout=dropout,
            scaling=scaling,
        )
        blocks.append(mixed.transpose(1, 2))
    return torch.cat(blocks, dim=1), None


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    *,
    dropout: float,
    scaling: float,
) -> Tensor:
    """[R, A, Q, D] for queries [R, A, Q, D] and keys [R, A, K, D]; mask: bool [R, 1, Q, K].

    PyTorch's kernel for the CPU multiplies bf16 without the processor's units for it. Where a
    gradient is needed, three plain products are 2 to 3 times as fast (docs/performance.md).
    """
    plain = query.device.type == "cpu" and query.dtype == torch.bfloat16
    if plain and mask is not None and dropout == 0.0 and torch.is_grad_enabled():
        scores = (query * scaling) @ key.transpose(-1, -2)
        return scores.masked_fill(~mask, -math.inf).softmax(dim=-1) @ value
    return scaled_dot_product_attention(query, key, value, mask, dropout_p=dropout, scale=scaling)


def _varlen(
    packed: list[Tensor], bounds: Tensor, longest: int, scaling: float, window: int
) -> Tensor:
    """[1, T, A, D] from queries, keys and values [T, A, D]."""
    from torch.nn.attention.varlen import varlen_attn  # cuda only

    query, key, value = packed  # cuda only
    lengths = (bounds, bounds, longest, longest)  # cuda only
    sides = (window, window)  # cuda only
    mixed: Any = varlen_attn(
        query, key, value, *lengths, scale=scaling, window_size=sides
    )  # cuda only
    return mixed[None]  # cuda only
