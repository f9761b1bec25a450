"""The forward process q(x_t | x_0) of masked diffusion, as a pure function of (seed, epoch,
sample).

Each sample gets at least one mask: the number of masks is drawn from the binomial truncated at 1,
the set uniformly given the number, which is the law of independent masking given that the sample
is not empty. A sample without a mask has no loss, so E[loss] = truncation_factor x E[loss | at
least one mask], and no row is wasted.

Shapes: B samples of the batch, L the longest of them in maskable tokens.
"""

import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor

from diffutron.diffusion.process.noise import uniform

GOLDEN = (math.sqrt(5) - 1) / 2  # 0.6180339887: its multiples spread evenly over (0, 1)

BELL = 0.25  # standard deviation of bell-shaped times, as a share of their range

# Functions that torch ships no type for: x log(1 + y), 0 where x is 0; the normal law and its
# inverse.
_xlog1py = cast(Callable[[Tensor, Tensor], Tensor], torch.special.xlog1py)  # pyright: ignore
_ndtr = cast(Callable[[Tensor], Tensor], torch.special.ndtr)  # pyright: ignore
_ndtri = cast(Callable[[Tensor], Tensor], torch.special.ndtri)  # pyright: ignore
_TIME, _COUNT, _SUBSET = 1, 2, 3  # one stream of random numbers each


def sample_t(position: Tensor, *, seed: int, epoch: int) -> Tensor:
    """Times in (0, 1), float64 with the shape of `position`: frac(u(seed, epoch) + position x
    GOLDEN).

    `position` is a sample's place in the seeded order of the epoch, so that any run of
    consecutive samples covers (0, 1) evenly: a low-discrepancy form of MDLM's antithetic times
    (arXiv 2406.07524, appendix).
    """
    offset = uniform(seed, epoch, _TIME, device=position.device)
    t = torch.frac(offset + position.to(torch.float64) * GOLDEN)
    return t.clamp(2.0**-40, 1 - 2.0**-40)


def bell_shaped(u: Tensor) -> tuple[Tensor, Tensor]:
    """Quantiles in (0, 1) to places in (0, 1) that crowd around the middle, and their importance.

    The places follow a normal law with mean 1/2 and standard deviation BELL, cut to (0, 1), so
    evenly spread quantiles stay stratified. importance is one over the density, at most 4.5: the
    mean of importance x f(place) is the mean of f over (0, 1).

    Bell-shaped times speed up masked diffusion (arXiv 2605.13026, which names them so); that such
    weights keep the bound is importance sampling as in arXiv 2102.09672, section 3.3.
    """
    below = _ndtr(torch.tensor(-0.5 / BELL, dtype=u.dtype, device=u.device))
    z = _ndtri(below + (1 - 2 * below) * u)
    density = torch.exp(-(z**2) / 2) / (math.sqrt(2 * math.pi) * BELL * (1 - 2 * below))
    return 0.5 + BELL * z, 1 / density


def truncation_factor(mask_prob: Tensor, lengths: Tensor) -> Tensor:
    """1 - (1 - mask_prob)^L, the probability that a sample of L maskable tokens gets a mask."""
    return -torch.expm1(_xlog1py(lengths.to(mask_prob.dtype), -mask_prob))


def mask_samples(
    lengths: Sequence[int], *, mask_prob: Tensor, seed: int, epoch: int, index: Tensor
) -> list[Tensor]:
    """For each sample a bool tensor over its maskable tokens, True where masked.

    lengths: number of maskable tokens of each sample. mask_prob, index: [B], the mask rate in (0,
    1] and the sample's index in its data set. A sample's mask depends on (seed, epoch, index),
    its length and rate alone.
    """
    if not len(lengths) == len(mask_prob) == len(index):
        raise ValueError(
            f"lengths, mask_prob and index differ: {len(lengths)}, {len(mask_prob)}, {len(index)}"
        )
    if not lengths:
        return []
    length = torch.tensor(lengths, dtype=torch.int64).unsqueeze(1)  # [B, 1]
    sample = index.to("cpu", torch.int64).unsqueeze(1)
    counts = _truncated_binomial(
        uniform(seed, epoch, _COUNT, sample),
        mask_prob.to("cpu", torch.float64).unsqueeze(1),
        length,
    )
    place = torch.arange(max(1, max(lengths))).unsqueeze(0)  # [1, L]
    keys = uniform(seed, epoch, _SUBSET, sample, place).masked_fill(place >= length, 2.0)
    order = keys.argsort(dim=1, stable=True)
    masked = torch.zeros_like(keys, dtype=torch.bool).scatter(1, order, place < counts)
    return [row[:n] for row, n in zip(masked, lengths, strict=True)]


def _truncated_binomial(u: Tensor, mask_prob: Tensor, length: Tensor) -> Tensor:
    """Binomial(length, mask_prob) given that it is at least 1, by inversion of u.

    All [B, 1]; 0 if length is 0.
    """
    count = torch.arange(1, max(1, int(length.max())) + 1).unsqueeze(0)  # [1, L]
    left = (length - count).clamp_min(0).to(torch.float64)
    log_pmf = (
        torch.lgamma(length + 1.0)
        - torch.lgamma(count + 1.0)
        - torch.lgamma(left + 1.0)
        + torch.xlogy(count.to(torch.float64), mask_prob)
        + _xlog1py(left, -mask_prob)
    ).masked_fill(count > length, -math.inf)
    highest = log_pmf.amax(dim=1, keepdim=True).clamp_min(-1e300)  # a sample of length 0 has none
    cdf = torch.exp(log_pmf - highest).cumsum(dim=1)
    draws = 1 + (cdf < u * cdf[:, -1:]).sum(dim=1, keepdim=True)
    return torch.minimum(draws, length)
