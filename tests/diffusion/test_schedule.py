"""Schedules against their definitions, and the bound that does not depend on them."""

import math

import pytest
import torch

from diffutron.diffusion.process.masking import truncation_factor
from diffutron.diffusion.process.schedule import Cosine, Geometric, Linear, schedule

ALL = [Linear(), Cosine(), Geometric()]
T = torch.linspace(0.001, 0.999, 97, dtype=torch.float64)


@pytest.mark.parametrize("noise", ALL, ids=str)
def test_weight_is_minus_the_derivative_over_the_masked_share(noise) -> None:
    t = T.clone().requires_grad_()
    masked = noise.mask_prob(t)
    (slope,) = torch.autograd.grad(masked.sum(), t)  # minus that of alpha
    weight = noise.weight(T)
    assert (weight > 0).all()
    torch.testing.assert_close(weight, slope / masked.detach(), rtol=1e-6, atol=1e-9)
    assert (masked.diff() > 0).all()


def test_definitions() -> None:
    torch.testing.assert_close(Linear().weight(T), 1 / T)
    torch.testing.assert_close(Linear().mask_prob(T), T)
    torch.testing.assert_close(Cosine().mask_prob(T), torch.cos(math.pi / 2 * (1 - T)))
    expected = 1 - torch.exp(-(1e-5 ** (1 - T)) * 20**T)
    torch.testing.assert_close(Geometric().mask_prob(T), expected)


@pytest.mark.parametrize("noise", ALL, ids=str)
@pytest.mark.parametrize("length", range(1, 7))
def test_every_schedule_gives_the_same_bound(noise, length: int, table) -> None:
    """Integral over t of weight x E[masked nll] = the any-order bound, by quadrature and
    enumeration.
    """
    x = [0, 1, 2, 1, 0, 2][:length]
    by_size = mean_nll_by_size(table, x)
    nodes, weights = gauss_legendre(200)
    t = nodes**3 if isinstance(noise, Geometric) else nodes  # crowd the nodes where it is steep
    jacobian = 3 * nodes**2 if isinstance(noise, Geometric) else torch.ones_like(nodes)
    p = noise.mask_prob(t)
    inner = sum(
        math.comb(length, k) * p**k * (1 - p) ** (length - k) * by_size[k]
        for k in range(1, length + 1)
    )
    total = float((weights * jacobian * noise.weight(t) * inner).sum())
    rel = 1e-3 if isinstance(noise, Geometric) else 1e-9
    assert total == pytest.approx(-table.bound([], x), rel=rel)


def mean_nll_by_size(table, x: list[int]) -> dict[int, float]:
    import itertools

    found = {}
    for k in range(1, len(x) + 1):
        sums = []
        for masked in itertools.combinations(range(len(x)), k):
            row = [table.mask if i in masked else v for i, v in enumerate(x)]
            sums.append(-sum(float(table.probs(row, i)[x[i]].log()) for i in masked))
        found[k] = sum(sums) / len(sums)
    return found


def gauss_legendre(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(n)
    return torch.tensor((nodes + 1) / 2), torch.tensor(weights / 2)


def test_truncation_factor_keeps_its_digits_near_zero() -> None:
    p = torch.tensor([1e-12, 0.5, 1.0], dtype=torch.float64)
    factor = truncation_factor(p, torch.tensor([5, 2, 3]))
    torch.testing.assert_close(factor, torch.tensor([5e-12, 0.75, 1.0], dtype=torch.float64))
    assert float(truncation_factor(p[2:], torch.tensor([0]))) == 0.0


def test_schedule_by_name() -> None:
    assert schedule("geometric", beta_min=0.01, beta_max=5.0) == Geometric(0.01, 5.0)
    with pytest.raises(ValueError, match="schedule 'sqrt' is unknown: choose one of linear"):
        schedule("sqrt")
    with pytest.raises(ValueError, match="takes no range, got beta_min"):
        schedule("linear", beta_min=1.0)
    with pytest.raises(ValueError, match="need 0 < beta_min < beta_max"):
        schedule("geometric", beta_min=2.0, beta_max=1.0)
