"""Sums over masked tokens that are no likelihood of the text: by mask rate, and one at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffutron.diffusion import LogprobFn
from diffutron.diffusion.likelihood.masked_rows import Item, MaskedRows
from diffutron.diffusion.process.masking import mask_samples
from diffutron.diffusion.process.noise import uniform


@dataclass(frozen=True, slots=True)
class MaskedNLL:
    """-log p of masked tokens at mask rates in [low, high), summed over `num_tokens` of them.

    Nats.
    """

    low: float
    high: float
    nats: float
    num_tokens: int


def masked_nll(
    logprob_fn: LogprobFn,
    items: Sequence[Item],
    *,
    mask_token_id: int,
    pad_token_id: int,
    bands: Sequence[tuple[float, float]] = ((0.0, 0.1), (0.1, 0.3), (0.3, 0.6), (0.6, 1.0)),
    num_draws: int = 2,
    batch_rows: int = 64,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> list[list[MaskedNLL]]:
    """For each item and band the masked-token negative log-likelihood (not a likelihood of the
    text).

    Each item gets `num_draws` masks a band, with rates spread evenly over the band and at least
    one token masked. exp(nats / num_tokens) is the masked-token perplexity at that mask rate; it
    says nothing without the rate.
    """
    rows = MaskedRows(mask_token_id)
    parts: list[list[slice]] = []
    for number, (context, continuation) in enumerate(items):
        parts.append([])
        for band, (low, high) in enumerate(bands):
            masked = _band_masks(len(continuation), low, high, num_draws, (seed, band, number))
            parts[-1].append(rows.add(context, continuation, masked)[1])
    logprobs = rows.logprobs(
        logprob_fn, pad_token_id=pad_token_id, batch_rows=batch_rows, device=device
    )
    return [
        [
            MaskedNLL(low, high, -float(logprobs[part].sum()), part.stop - part.start)
            for (low, high), part in zip(bands, row, strict=True)
        ]
        for row in parts
    ]


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


def _band_masks(
    length: int, low: float, high: float, num_draws: int, keys: tuple[int, int, int]
) -> Tensor:
    """Masks bool [num_draws, length] with rates at evenly spaced places of (low, high)."""
    seed, band, number = keys
    draw = torch.arange(num_draws)
    spread = (draw + uniform(seed, band, number)) / num_draws
    rates = low + (high - low) * spread
    index = number * num_draws + draw
    return torch.stack(
        mask_samples([length] * num_draws, mask_prob=rates, seed=seed, epoch=band, index=index)
    )
