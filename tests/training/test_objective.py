"""Mask rates and weights: the bound, its restriction, and plain masked language modeling."""

import pytest
import torch

from diffutron.config.params import GeometricParams
from diffutron.diffusion.process.masking import truncation_factor
from diffutron.diffusion.process.schedule import schedule
from diffutron.training.objective import masked_diffusion, masked_language_model, time_of

TIMES = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
NAMES = ("linear", "cosine", "geometric")


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_range_is_the_bound(name):
    objective = masked_diffusion(name)
    assert objective.is_bound
    mask_prob, weight = objective.draw(TIMES)
    assert torch.equal(mask_prob, schedule(name).mask_prob(TIMES))
    assert torch.equal(weight, schedule(name).weight(TIMES))


def test_the_geometric_schedule_may_have_a_range_of_its_own():
    objective = masked_diffusion(GeometricParams(name="geometric", beta_min=0.01, beta_max=5.0))
    expected = schedule("geometric", beta_min=0.01, beta_max=5.0)
    mask_prob, weight = objective.draw(TIMES)
    assert torch.equal(mask_prob, expected.mask_prob(TIMES))
    assert torch.equal(weight, expected.weight(TIMES))
    assert objective.name == "MDLM bound, geometric (0.01 to 5) schedule"


@pytest.mark.parametrize("name", NAMES)
def test_a_range_of_mask_rates_is_kept_and_named(name):
    objective = masked_diffusion(name, mask_rate=(0.5, 0.9))
    assert not objective.is_bound
    assert "not the bound" in objective.name
    assert "0.5 to 0.9" in objective.name
    mask_prob, weight = objective.draw(TIMES)
    assert 0.5 <= mask_prob.min() < 0.51
    assert 0.89 < mask_prob.max() <= 0.9 + 1e-9
    assert (weight > 0).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rate", [0.0, 0.3, 0.99])
def test_time_of_inverts_the_schedule(name, rate):
    t = torch.tensor(time_of(schedule(name), rate), dtype=torch.float64)
    assert abs(float(schedule(name).mask_prob(t)) - rate) < 1e-4


def test_masked_language_model_weighs_a_masked_token_by_the_mean():
    """E[sum of weights of the masked tokens] = number of maskable tokens."""
    objective = masked_language_model(0.3)
    lengths = torch.tensor([1, 4, 50])
    mask_prob, weight = objective.sample(torch.full((3,), 0.7, dtype=torch.float64), lengths)
    assert mask_prob.tolist() == [0.3] * 3
    given_one = lengths * 0.3 / truncation_factor(mask_prob, lengths)  # E[masked | at least one]
    torch.testing.assert_close(weight * given_one, lengths.double())
    assert "0.3" in objective.name


def test_sample_corrects_for_rows_that_are_never_empty():
    objective = masked_diffusion("linear")
    lengths = torch.full_like(TIMES, 3, dtype=torch.int64)
    mask_prob, weight = objective.sample(TIMES, lengths)
    torch.testing.assert_close(weight, (1 - (1 - TIMES) ** 3) / TIMES)
    torch.testing.assert_close(mask_prob, TIMES)
