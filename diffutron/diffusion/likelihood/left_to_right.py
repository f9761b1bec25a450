"""The likelihood of one order of unmasking: from the left to the right.

    log p(x | c) in that order = sum over k of log p(x_k | c, x_1 .. x_k-1, masks after)

It is exact for a sampler that unmasks one token at a time in that order, while `any_order` bounds
the mean over all orders. It takes one model row for each token.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from diffutron.diffusion import LogitsFn


class LeftToRight(NamedTuple):
    """Of L tokens: log p in nats [L], and the likeliest tokens there and their log p [L, top]."""

    logprobs: Tensor
    top_tokens: Tensor
    top_logprobs: Tensor


def left_to_right(
    logits_fn: LogitsFn,
    context: Sequence[int],
    ids: Sequence[int],
    *,
    mask_token_id: int,
    batch_rows: int,
    top: int = 0,
    device: torch.device | str = "cpu",
) -> LeftToRight:
    """log p of each token of `ids` [L] after `context` and the tokens before it, float64.

    The canvas ends with the last token. The mask token has no probability.
    """
    clean = torch.tensor([*context, *ids], dtype=torch.int64, device=device)
    places = torch.arange(len(context), len(clean), device=device)
    found: list[LeftToRight] = []
    for first in range(0, len(ids), batch_rows):
        some = places[first : first + batch_rows]
        later = torch.arange(len(clean), device=device) >= some[:, None]
        rows = torch.where(later, mask_token_id, clean)
        asked = torch.zeros_like(later).scatter_(1, some[:, None], True)
        logits = logits_fn(rows, None, asked)
        logits[:, mask_token_id] = -torch.inf
        logprobs = logits.to(torch.float64).log_softmax(dim=1)
        if bool(logprobs.isnan().any()):
            raise ValueError("logits_fn: the model returned NaN logits")
        best = logprobs.topk(min(top, logprobs.shape[1]), dim=1)
        mine = logprobs.gather(1, clean[some][:, None]).squeeze(1)
        found.append(LeftToRight(mine.cpu(), best.indices.cpu(), best.values.cpu()))
    if not found:
        empty = torch.zeros(0, top, dtype=torch.float64)
        return LeftToRight(empty.sum(dim=1), empty.to(torch.int64), empty)
    return LeftToRight(*(torch.cat(parts) for parts in zip(*found, strict=True)))
