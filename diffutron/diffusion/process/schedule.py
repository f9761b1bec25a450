"""Noise schedules of masked diffusion: the share alpha(t) of tokens still visible at time t in
(0, 1).

Sahoo et al., "Simple and Effective Masked Diffusion Language Models" (MDLM, arXiv 2406.07524):
eq. 10 for the weight -alpha'(t) / (1 - alpha(t)) of the bound, appendix E.1 for the schedules.
The bound does not depend on the schedule; the variance of its estimates does. All functions map a
tensor of times to a tensor of its shape.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Schedule(Protocol):
    """A decreasing alpha with alpha(0) = 1 and alpha(1) = 0 (the geometric one up to its range)."""

    def mask_prob(self, t: Tensor) -> Tensor:
        """1 - alpha(t), the probability that a token is masked at time t."""
        ...

    def weight(self, t: Tensor) -> Tensor:
        """-alpha'(t) / (1 - alpha(t)), positive on (0, 1)."""
        ...


@dataclass(frozen=True, slots=True)
class Linear:
    """alpha = 1 - t, so the weight is 1 / t (MDLM's code calls it log-linear)."""

    def mask_prob(self, t: Tensor) -> Tensor:
        return t

    def weight(self, t: Tensor) -> Tensor:
        return 1 / t


@dataclass(frozen=True, slots=True)
class Cosine:
    """alpha = 1 - cos(pi/2 (1 - t)), so the weight is pi/2 tan(pi/2 (1 - t))."""

    def mask_prob(self, t: Tensor) -> Tensor:
        return torch.sin(math.pi / 2 * t)  # = cos(pi/2 (1 - t))

    def weight(self, t: Tensor) -> Tensor:
        return math.pi / 2 / torch.tan(math.pi / 2 * t)


@dataclass(frozen=True, slots=True)
class Geometric:
    """alpha = exp(-beta_min^(1-t) beta_max^t); the defaults are MDLM's.

    alpha(0) and alpha(1) reach 1 and 0 only up to the range, so the bound lacks a share of about
    `beta_min` (mask rates below it) and of exp(-beta_max) (rates above).
    """

    beta_min: float = 1e-5
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        if not 0 < self.beta_min < self.beta_max:
            raise ValueError(
                f"beta_min={self.beta_min}, beta_max={self.beta_max}: need 0 < beta_min < beta_max"
            )

    def mask_prob(self, t: Tensor) -> Tensor:
        return -torch.expm1(-self._beta(t))

    def weight(self, t: Tensor) -> Tensor:
        beta = self._beta(t)
        return beta * math.log(self.beta_max / self.beta_min) / torch.expm1(beta)

    def _beta(self, t: Tensor) -> Tensor:
        return self.beta_min * torch.exp(t * math.log(self.beta_max / self.beta_min))


_SCHEDULES: dict[str, type[Linear] | type[Cosine] | type[Geometric]] = {
    "linear": Linear,
    "cosine": Cosine,
    "geometric": Geometric,
}


def schedule(name: str, **ranges: float) -> Schedule:
    """The schedule of that name; `beta_min` and `beta_max` belong to `geometric` alone."""
    if name not in _SCHEDULES:
        raise ValueError(f"schedule {name!r} is unknown: choose one of {', '.join(_SCHEDULES)}")
    if ranges and name != "geometric":
        raise ValueError(f"schedule {name!r} takes no range, got {', '.join(ranges)}")
    return _SCHEDULES[name](**ranges)
