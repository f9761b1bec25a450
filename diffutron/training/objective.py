"""What a stage learns: how often a token is masked, and what its loss counts for.

The masked diffusion bound draws a time t for each sample; masked-language-model pre-training is
the same loss at one fixed mask rate.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffutron.config.params import GeometricParams
from diffutron.diffusion.process.masking import truncation_factor
from diffutron.diffusion.process.schedule import Schedule, schedule


@dataclass(frozen=True)
class Objective:
    """Times in (0, 1) to mask probabilities and weights, float64 [B], and an honest name."""

    name: str
    is_bound: bool
    draw: Callable[[Tensor], tuple[Tensor, Tensor]]

    def sample(self, t: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Mask probability and weight of samples of `lengths` maskable tokens, each with one mask
        at least.
        """
        mask_prob, weight = self.draw(t)
        return mask_prob, weight * truncation_factor(mask_prob, lengths)


def masked_language_model(rate: float) -> Objective:
    """One mask rate for all; the weight 1 / rate makes the loss a mean over masked tokens."""

    def draw(t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.full_like(t, rate), torch.full_like(t, 1 / rate)

    return Objective(f"masked language model, rate {rate:g}", False, draw)


def masked_diffusion(
    chosen: str | GeometricParams, *, mask_rate: tuple[float, float] = (0.0, 1.0)
) -> Objective:
    """The MDLM bound of that schedule, or its restriction to a range of mask rates.

    A restricted range learns the same conditionals from other mask rates; its loss is no bound on
    the likelihood, and its name says so.
    """
    if isinstance(chosen, str):
        name, noise = chosen, schedule(chosen)
    else:
        low, high = chosen.beta_min, chosen.beta_max
        name = f"{chosen.name} ({low:g} to {high:g})"
        noise = schedule(chosen.name, beta_min=low, beta_max=high)
    if mask_rate == (0.0, 1.0):
        return Objective(
            f"MDLM bound, {name} schedule", True, lambda t: (noise.mask_prob(t), noise.weight(t))
        )
    first, last = (time_of(noise, rate) for rate in mask_rate)

    def draw(t: Tensor) -> tuple[Tensor, Tensor]:
        within = first + (last - first) * t
        return noise.mask_prob(within), noise.weight(within)

    low, high = mask_rate
    return Objective(
        f"MDLM loss, {name} schedule, mask rates {low:g} to {high:g} only (not the bound)",
        False,
        draw,
    )


def time_of(noise: Schedule, mask_prob: float) -> float:
    """The time at which a schedule masks with that probability, by bisection (it increases)."""
    low, high = 0.0, 1.0
    while (middle := (low + high) / 2) not in (low, high):
        if float(noise.mask_prob(torch.tensor(middle, dtype=torch.float64))) < mask_prob:
            low = middle
        else:
            high = middle
    return 0.0 if math.isclose(high, 0.0, abs_tol=1e-12) else high
