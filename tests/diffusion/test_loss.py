"""The loss that trainings compute: the bound, its restriction, masked language modeling."""

import itertools
import math

import pytest
import torch

from diffutron.diffusion.process.loss import (
    Objective,
    masked_diffusion,
    masked_language_model,
    time_of,
    weighted_nll,
)
from diffutron.diffusion.process.masking import sample_t, truncation_factor
from diffutron.diffusion.process.schedule import schedule

TIMES = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
NAMES = ("linear", "cosine", "geometric")


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_range_is_the_bound(name):
    objective = masked_diffusion(name)
    assert objective.is_bound
    mask_prob, weight = objective.at(TIMES)
    assert torch.equal(mask_prob, schedule(name).mask_prob(TIMES))
    assert torch.equal(weight, schedule(name).weight(TIMES))


def test_the_geometric_schedule_may_have_a_range_of_its_own():
    objective = masked_diffusion("geometric", beta_min=0.01, beta_max=5.0)
    expected = schedule("geometric", beta_min=0.01, beta_max=5.0)
    mask_prob, weight = objective.at(TIMES)
    assert torch.equal(mask_prob, expected.mask_prob(TIMES))
    assert torch.equal(weight, expected.weight(TIMES))
    assert objective.name == "MDLM bound, geometric (0.01 to 5) schedule"


@pytest.mark.parametrize("name", NAMES)
def test_a_range_of_mask_rates_is_kept_and_named(name):
    objective = masked_diffusion(name, mask_rates=(0.5, 0.9))
    assert not objective.is_bound
    assert "not the bound" in objective.name
    assert "0.5 to 0.9" in objective.name
    mask_prob, weight = objective.at(TIMES)
    assert 0.5 <= mask_prob.min() < 0.51
    assert 0.89 < mask_prob.max() <= 0.9 + 1e-9
    assert (weight > 0).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rate", [0.0, 0.3, 0.99])
def test_time_of_inverts_the_schedule(name, rate):
    t = torch.tensor(time_of(schedule(name), rate), dtype=torch.float64)
    assert abs(float(schedule(name).mask_prob(t)) - rate) < 1e-4


def draw_alike(objective: Objective, number: int, length: int):
    """Masks bool [number, length] and weights of that many samples of one length."""
    masked, weight = objective.draw_masks(
        torch.arange(number), [length] * number, seed=1, epoch=0, index=torch.arange(number)
    )
    return torch.stack(masked), weight


@pytest.mark.parametrize("mask_rates", [(0.0, 1.0), (0.2, 0.9)])
@pytest.mark.parametrize("name", NAMES)
def test_a_bell_of_mask_rates_keeps_the_mean_loss(name, mask_rates):
    """E[weight x f(mask rate)] is that of even times, whatever f, and the draws crowd inside."""
    even = masked_diffusion(name, mask_rates=mask_rates)
    bell = masked_diffusion(name, mask_rates=mask_rates, shape="bell")
    t = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    for f in (torch.ones_like, lambda p: p, lambda p: p * (1 - p) ** 2, lambda p: -p.log() * p):
        (p, weight), (p_bell, weight_bell) = even.at(t), bell.at(t)
        expected = float((weight * f(p) * p).mean())
        assert float((weight_bell * f(p_bell) * p_bell).mean()) == pytest.approx(expected, rel=2e-4)
    assert bell.is_bound == even.is_bound == (mask_rates == (0.0, 1.0))
    assert "bell-shaped mask rates" in bell.name


@pytest.mark.parametrize("shape", ["uniform", "bell"])
@pytest.mark.parametrize("mask_rates", [(0.0, 1.0), (0.15, 1.0)])
def test_held_out_samples_meet_all_mask_rates_evenly(mask_rates, shape):
    trained = masked_diffusion("linear", mask_rates=mask_rates, shape=shape, others=["per answer"])
    whole = masked_diffusion("linear", others=["per answer"])
    assert trained.evaluated.name == whole.name
    for found, expected in zip(trained.evaluated.at(TIMES), whole.at(TIMES), strict=True):
        assert torch.equal(found, expected)
    assert masked_language_model(0.3).evaluated.name == "masked language model, rate 0.3"


@pytest.mark.parametrize("shape", ["uniform", "bell"])
@pytest.mark.parametrize("name", NAMES)
def test_drawn_losses_average_to_the_bound(name, shape, table) -> None:
    """What training computes (time, mask, weight, sum), by Monte Carlo: the mean is the bound."""
    x, n = [0, 2, 1, 1], 20_000
    masks, weight = draw_alike(masked_diffusion(name, shape=shape), n, len(x))
    token_nll = {}
    for masked in itertools.product([False, True], repeat=len(x)):
        row = [table.mask if m else v for m, v in zip(masked, x, strict=True)]
        token_nll[masked] = [-float(table.probs(row, i)[x[i]].log()) for i in range(4) if masked[i]]
    losses = torch.stack(
        [
            weighted_nll(torch.tensor(nll).double(), weight[i].expand(len(nll)), normalizer=len(x))
            for i, nll in enumerate(token_nll[tuple(mask.tolist())] for mask in masks)
        ]
    )
    bound = -table.bound([], x) / len(x)
    z = (float(losses.mean()) - bound) / (float(losses.std()) / math.sqrt(n))
    assert abs(z) < 4
    assert float(losses.mean()) == pytest.approx(bound, rel=0.02)  # a wrong weight spreads as well


def test_masked_language_model_weighs_a_masked_token_by_the_mean():
    """E[sum of weights of the masked tokens] = number of maskable tokens."""
    objective = masked_language_model(0.3)
    for length in (1, 4, 50):
        masks, weight = draw_alike(objective, 4000, length)
        factor = truncation_factor(torch.tensor(0.3).double(), torch.tensor(length))
        torch.testing.assert_close(weight, (factor / 0.3).expand_as(weight))
        counted = masks.sum(dim=1) * weight
        error = float(counted.std()) / math.sqrt(len(masks))
        assert abs(float(counted.mean()) - length) <= 4 * error + 1e-9
    assert "0.3" in objective.name


def test_the_weight_makes_up_for_samples_without_a_mask():
    objective = masked_diffusion("linear")
    position = torch.arange(50)
    _, weight = objective.draw_masks(position, [3] * 50, seed=4, epoch=2, index=position + 7)
    t = sample_t(position, seed=4, epoch=2)
    torch.testing.assert_close(weight, (1 - (1 - t) ** 3) / t)


def test_the_loss_of_a_micro_batch_is_a_part_of_the_whole():
    nll, weight = torch.tensor([2.0, 3.0]), torch.tensor([0.5, 2.0])
    assert float(weighted_nll(nll, weight, normalizer=7.0)) == pytest.approx(1.0)
