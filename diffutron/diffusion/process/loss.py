"""The training loss of masked diffusion, from a sample's place in the epoch to a number.

MDLM (arXiv 2406.07524), eq. 10, is the bound that training lowers:

    NELBO = E_t E_{x_t} [ weight(t) x sum over masked i of -log p(x_i | x_t) ]

A training takes these steps, in this order:

    t                     `sample_t`, spread evenly over (0, 1)
    mask_prob, weight     `Objective.at`, by the range and shape of mask rates and the schedule
    masked                `mask_samples`, with at least one mask per sample
    weight x truncation   `Objective.draw_masks`, which makes up for the samples without a mask
    loss                  `weighted_nll`, per maskable token, or sample, of the global batch

The model gives the token_nll in between (`modeling.head.head_nll`). Masked-language-model
pre-training is the same loss at one fixed mask rate.

Shapes: B samples, N masked tokens of all of them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from diffutron.diffusion.process.masking import (
    bell_shaped,
    mask_samples,
    sample_t,
    truncation_factor,
)
from diffutron.diffusion.process.schedule import Schedule, schedule


@dataclass(frozen=True)
class Objective:
    """How often a token is masked, what its loss counts for, and an honest name for the whole.

    at: times in (0, 1) to mask probabilities and weights, float64 [B]. is_bound: whether the mean
    loss bounds the negative log-likelihood. over_all_rates: the same loss with even times over all
    mask rates, where training draws others.
    """

    name: str
    is_bound: bool
    at: Callable[[Tensor], tuple[Tensor, Tensor]]
    over_all_rates: "Objective | None" = None

    @property
    def evaluated(self) -> "Objective":
        """What held-out samples are measured by, whichever mask rates are trained on."""
        return self.over_all_rates or self

    def draw_masks(
        self, position: Tensor, lengths: Sequence[int], *, seed: int, epoch: int, index: Tensor
    ) -> tuple[list[Tensor], Tensor]:
        """The masks of samples, and the weight of each masked token of a sample, float64 [B].

        position, index: [B], the places of the samples in the order of the epoch and in the data
        set. lengths: their numbers of maskable tokens. The sum of weight x token_nll of a sample
        has the bound of eq. 10 as its mean, in nats.
        """
        mask_prob, weight = self.at(sample_t(position, seed=seed, epoch=epoch))
        masked = mask_samples(lengths, mask_prob=mask_prob, seed=seed, epoch=epoch, index=index)
        return masked, weight * truncation_factor(mask_prob, torch.tensor(lengths))


def weighted_nll(token_nll: Tensor, weight: Tensor, *, normalizer: Tensor | float) -> Tensor:
    """sum(weight x token_nll) / normalizer, a scalar; token_nll, weight: [N].

    normalizer: the maskable tokens, or samples, of the whole global batch, so that micro-batches
    and ranks add up.
    """
    return torch.dot(token_nll, weight.to(token_nll.dtype)) / normalizer


def masked_diffusion(
    name: str,
    *,
    beta_min: float | None = None,
    beta_max: float | None = None,
    mask_rates: tuple[float, float] = (0.0, 1.0),
    shape: Literal["uniform", "bell"] = "uniform",
    others: Sequence[str] = (),
) -> Objective:
    """The bound with the schedule of that name, or its restriction to a range of mask rates.

    beta_min, beta_max: the range of the geometric schedule, where it is not MDLM's. A restricted
    range of `mask_rates` learns the same conditionals from other mask rates (as the clipped
    schedules of block diffusion, arXiv 2503.09573, do). others: what else sets the loss apart from
    the bound. With either the loss is no bound on the likelihood, and its name says so.

    shape: the times of that range are drawn evenly, or more often from its middle (`bell_shaped`).
    Importance weights keep the mean of the loss, so a bell over all mask rates is still the bound.
    """
    noise, written, (low, high) = schedule(name), name, mask_rates
    if beta_min is not None and beta_max is not None:
        noise = schedule(name, beta_min=beta_min, beta_max=beta_max)
        written = f"{name} ({beta_min:g} to {beta_max:g})"
    first, last = 0.0, 1.0
    drawn: list[str] = []
    if mask_rates != (0.0, 1.0):
        first, last = time_of(noise, low), time_of(noise, high)
        drawn.append(f"mask rates {low:g} to {high:g} only")
    is_bound = not (drawn or others)
    if shape == "bell":
        drawn.append("bell-shaped mask rates")

    def at(t: Tensor) -> tuple[Tensor, Tensor]:
        place, importance = bell_shaped(t) if shape == "bell" else (t, 1.0)
        within = first + (last - first) * place
        return noise.mask_prob(within), noise.weight(within) * importance

    parts = ", ".join([f"{written} schedule", *drawn, *others])
    title = f"MDLM bound, {parts}" if is_bound else f"MDLM loss, {parts} (not the bound)"
    whole = None
    if drawn:
        whole = masked_diffusion(name, beta_min=beta_min, beta_max=beta_max, others=others)
    return Objective(title, is_bound, at, whole)


def masked_language_model(rate: float) -> Objective:
    """One mask rate for all; the weight 1 / rate makes the loss a mean over masked tokens."""

    def at(t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.full_like(t, rate), torch.full_like(t, 1 / rate)

    return Objective(f"masked language model, rate {rate:g}", False, at)


def time_of(noise: Schedule, mask_prob: float) -> float:
    """The time at which a schedule masks with that probability, by bisection (it increases)."""
    low, high = 0.0, 1.0
    while (middle := (low + high) / 2) not in (low, high):
        if float(noise.mask_prob(torch.tensor(middle, dtype=torch.float64))) < mask_prob:
            low = middle
        else:
            high = middle
    return 0.0 if math.isclose(high, 0.0, abs_tol=1e-12) else high
