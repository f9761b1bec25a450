"""Likelihoods by order of unmasking, each named for what it is. All in nats.

Shapes: L tokens of a continuation, N masked positions, V vocabulary.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from diffutron.diffusion.likelihood.masked_rows import Item, LogprobFn, MaskedRows, pad_rows
from diffutron.diffusion.sampling.confidence import Measure, confidence

# fn(ids [R, L], attention_mask bool [R, L] or None, positions bool [R, L])
# -> logits [N, V] at the positions, row-major
LogitsFn = Callable[[Tensor, Tensor | None, Tensor], Tensor]
Order = Literal["left_to_right"] | Measure

MAX_MIXTURE_TOKENS = 12  # 4095 rows


def pseudo_loglikelihood(
    logprob_fn: LogprobFn,
    items: Sequence[Item],
    *,
    mask_token_id: int,
    pad_token_id: int,
    batch_rows: int = 64,
    device: torch.device | str = "cpu",
) -> list[float]:
    """sum over i of log p(x_i | context, all other tokens): Salazar et al., arXiv 1910.14659, eq.
    2.

    Not a likelihood: it does not sum to 1 over texts, and is too high for tokens that give each
    other away.
    """
    rows = MaskedRows(mask_token_id)
    parts = [
        rows.add(context, continuation, torch.eye(len(continuation), dtype=torch.bool))[1]
        for context, continuation in items
    ]
    logprobs = rows.logprobs(
        logprob_fn, pad_token_id=pad_token_id, batch_rows=batch_rows, device=device
    )
    return [float(logprobs[part].sum()) for part in parts]


def order_mixture_loglikelihood(
    logprob_fn: LogprobFn,
    items: Sequence[Item],
    *,
    mask_token_id: int,
    pad_token_id: int,
    batch_rows: int = 64,
    device: torch.device | str = "cpu",
) -> list[float]:
    """log of the mean, over all L! orders, of the likelihood of unmasking in that order.

    The exact log-likelihood of the sampler that unmasks one uniformly chosen position at a time;
    the any-order bound is the mean of the logs, so never above it (Jensen). By dynamic
    programming over subsets M of masked tokens: h(M) = mean over i in M of p(x_i | context, x
    without M) h(M without i). Needs 2^L - 1 rows: at most 12 tokens, else ValueError.
    """
    return [
        _order_mixture(
            logprob_fn,
            item,
            mask_token_id=mask_token_id,
            pad_token_id=pad_token_id,
            batch_rows=batch_rows,
            device=device,
        )
        for item in items
    ]


def _order_mixture(
    logprob_fn: LogprobFn,
    item: Item,
    *,
    mask_token_id: int,
    pad_token_id: int,
    batch_rows: int,
    device: torch.device | str,
) -> float:
    context, continuation = item
    length = len(continuation)
    if length > MAX_MIXTURE_TOKENS:
        raise ValueError(
            f"items: a continuation of {length} tokens has 2^{length} - 1 subsets; "
            f"the order mixture takes at most {MAX_MIXTURE_TOKENS} tokens"
        )
    bit = 1 << torch.arange(length)
    masked = (torch.arange(2**length)[:, None] & bit) != 0  # row number = the bits of its set
    rows = MaskedRows(mask_token_id)
    owner, part = rows.add(context, continuation, masked)
    logprobs = rows.logprobs(
        logprob_fn, pad_token_id=pad_token_id, batch_rows=batch_rows, device=device
    )[part]
    table = torch.full((2**length, length), -torch.inf, dtype=torch.float64)
    table[owner, masked.nonzero(as_tuple=True)[1]] = logprobs
    log_h = torch.zeros(2**length, dtype=torch.float64)
    for number in range(1, 2**length):
        tokens = masked[number]
        without = number - bit[tokens]
        terms = table[number, tokens] + log_h[without]
        log_h[number] = terms.logsumexp(0) - tokens.sum().log()
    return float(log_h[-1])


def ordered_loglikelihood(
    logits_fn: LogitsFn,
    items: Sequence[Item],
    *,
    order: Order,
    mask_token_id: int,
    pad_token_id: int,
    batch_rows: int = 64,
    device: torch.device | str = "cpu",
) -> list[float]:
    """The exact log-likelihood under a deterministic unmasking order, by L passes (DUEL, arXiv
    2603.01367).

    It is the likelihood of the sampler that, one token a step, picks the position by `order`
    (leftmost, or the surest by that measure of its best token; the first of equals) and draws its
    token at temperature 1.
    """
    totals = [0.0] * len(items)
    by_length = sorted(range(len(items)), key=lambda n: len(items[n][0]) + len(items[n][1]))
    for start in range(0, len(items), batch_rows):
        batch = by_length[start : start + batch_rows]
        sums = _ordered_batch(
            logits_fn,
            [items[n] for n in batch],
            order=order,
            mask_token_id=mask_token_id,
            pad_token_id=pad_token_id,
            device=device,
        )
        for number, total in zip(batch, sums, strict=True):
            totals[number] = float(total)
    return totals


def _ordered_batch(
    logits_fn: LogitsFn,
    items: Sequence[Item],
    *,
    order: Order,
    mask_token_id: int,
    pad_token_id: int,
    device: torch.device | str,
) -> Tensor:
    clean, attention_mask = pad_rows(
        [
            torch.tensor([*context, *continuation], dtype=torch.int64)
            for context, continuation in items
        ],
        pad_token_id=pad_token_id,
    )
    clean = clean.to(device)
    attention_mask = None if attention_mask is None else attention_mask.to(device)
    place = torch.arange(clean.shape[1], device=device)
    first = torch.tensor([len(context) for context, _ in items], device=device)[:, None]
    last = first + torch.tensor([len(x) for _, x in items], device=device)[:, None]
    masked = (place >= first) & (place < last)
    totals = torch.zeros(len(items), dtype=torch.float64, device=device)
    while bool(masked.any()):
        asked = masked & (masked.cumsum(dim=1) == 1) if order == "left_to_right" else masked
        logits = logits_fn(clean.masked_fill(masked, mask_token_id), attention_mask, asked).double()
        surest = torch.full(masked.shape, -torch.inf, dtype=torch.float64, device=device)
        measure = "low_confidence" if order == "left_to_right" else order
        surest[asked] = confidence(logits, logits.argmax(dim=1), measure=measure)
        chosen = asked & (place == surest.argmax(dim=1, keepdim=True))
        taken = chosen[asked]
        logprobs = logits[taken].log_softmax(dim=1)
        totals[chosen.any(dim=1)] += logprobs.gather(1, clean[chosen][:, None]).squeeze(1)
        masked = masked & ~chosen
    return totals.cpu()
