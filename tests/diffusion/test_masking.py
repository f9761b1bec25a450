"""The forward process: its law, its purity, and the loss it gives in expectation."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffutron.diffusion.process.masking import (
    BELL,
    GOLDEN,
    bell_shaped,
    mask_samples,
    sample_t,
    truncation_factor,
)
from diffutron.diffusion.process.noise import hash_keys, uniform
from diffutron.diffusion.process.schedule import Cosine, Geometric, Linear

RATES = st.floats(1e-6, 1.0)


@settings(max_examples=60, deadline=None)
@given(
    samples=st.lists(st.tuples(st.integers(0, 40), RATES, st.integers(0, 2**40)), max_size=8),
    seed=st.integers(-(2**70), 2**70),
    epoch=st.integers(0, 1000),
)
def test_a_mask_depends_on_its_own_sample_alone(samples, seed: int, epoch: int) -> None:
    lengths = [length for length, _, _ in samples]
    rates = torch.tensor([rate for _, rate, _ in samples], dtype=torch.float64)
    index = torch.tensor([number for _, _, number in samples], dtype=torch.int64)
    together = mask_samples(lengths, mask_prob=rates, seed=seed, epoch=epoch, index=index)
    for n, mask in enumerate(together):
        assert mask.dtype == torch.bool
        assert len(mask) == lengths[n]
        assert bool(mask.any()) == (lengths[n] > 0)
        (alone,) = mask_samples(
            lengths[n : n + 1],
            mask_prob=rates[n : n + 1],
            seed=seed,
            epoch=epoch,
            index=index[n : n + 1],
        )
        assert torch.equal(mask, alone)


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.9])
def test_masks_follow_independent_masking_given_that_one_is_masked(rate: float) -> None:
    n, length = 60_000, 3
    masks = torch.stack(
        mask_samples(
            [length] * n,
            mask_prob=torch.full((n,), rate, dtype=torch.float64),
            seed=5,
            epoch=2,
            index=torch.arange(n),
        )
    )
    codes = (masks.long() * torch.tensor([1, 2, 4])).sum(dim=1)
    observed = torch.bincount(codes, minlength=8).double()
    assert observed[0] == 0
    law = torch.tensor(
        [rate**k * (1 - rate) ** (3 - k) for k in (int(c).bit_count() for c in range(8))]
    )[1:].double()
    expected = n * law / law.sum()
    chi2 = float(((observed[1:] - expected) ** 2 / expected).sum())
    assert chi2 < 24.3  # 6 degrees of freedom, p = 0.0005


@pytest.mark.parametrize("noise", [Linear(), Cosine(), Geometric()], ids=str)
@pytest.mark.parametrize("length", range(1, 7))
def test_truncation_keeps_the_expected_loss(noise, length: int, table) -> None:
    """Enumerated over all masks: factor x E[loss | at least one mask] = E[loss], at any t."""
    x = [0, 1, 2, 2, 1, 0][:length]
    t = torch.tensor([0.03, 0.4, 0.97], dtype=torch.float64)
    p = noise.mask_prob(t)
    plain = torch.zeros(3, dtype=torch.float64)
    for masked in itertools.product([False, True], repeat=length):
        row = [table.mask if m else v for m, v in zip(masked, x, strict=True)]
        nll = -sum(float(table.probs(row, i)[x[i]].log()) for i in range(length) if masked[i])
        plain += p ** sum(masked) * (1 - p) ** (length - sum(masked)) * nll
    empty = (1 - p) ** length
    truncated = plain / (1 - empty)  # the empty mask has no loss
    lengths = torch.full((3,), length)
    torch.testing.assert_close(truncation_factor(p, lengths) * truncated, plain)


def test_times_spread_evenly_and_do_not_depend_on_the_batch() -> None:
    t = sample_t(torch.arange(100, 164), seed=3, epoch=7)
    assert t.dtype == torch.float64
    assert ((t > 0) & (t < 1)).all()
    assert torch.equal(t[10:20], sample_t(torch.arange(110, 120), seed=3, epoch=7))
    gaps = torch.cat([t.sort().values, t.min()[None] + 1]).diff()
    assert float(gaps.max()) < 2.7 / 64  # the golden ratio's gaps are never much above the mean
    step = (t[1] - t[0]) % 1
    assert float(step) == pytest.approx(GOLDEN)
    assert not torch.equal(t, sample_t(torch.arange(100, 164), seed=3, epoch=8))


def test_hash_is_the_published_generator() -> None:
    """SplitMix64 from state 0: its first output (Steele et al.; the reference implementation's)."""
    assert int(hash_keys(0)) % 2**64 == 0xE220A8397B1DCDAF


def test_uniforms_are_uniform_and_independent_of_shape() -> None:
    u = uniform(7, torch.arange(200)[:, None], torch.arange(300))
    assert float(u.mean()) == pytest.approx(0.5, abs=5e-3)
    assert float(u.var()) == pytest.approx(1 / 12, abs=2e-3)
    assert float(u[13, 17]) == float(uniform(7, 13, 17))
    neighbors = torch.corrcoef(torch.stack([u[:, :-1].flatten(), u[:, 1:].flatten()]))[0, 1]
    assert abs(float(neighbors)) < 0.02


def test_nothing_to_mask() -> None:
    assert mask_samples([], mask_prob=torch.ones(0), seed=0, epoch=0, index=torch.arange(0)) == []
    with pytest.raises(ValueError, match="lengths, mask_prob and index differ: 2, 1, 2"):
        mask_samples([1, 2], mask_prob=torch.ones(1), seed=0, epoch=0, index=torch.arange(2))


def test_bell_shaped_times_have_the_density_that_their_importance_undoes():
    """1 / importance is the density: the derivative of the quantiles' inverse, with mass one."""
    u = torch.linspace(1e-6, 1 - 1e-6, 100_001, dtype=torch.float64)
    place, importance = bell_shaped(u)
    assert 0 < place[0] < 1e-4
    assert (place.diff() > 0).all()
    torch.testing.assert_close(place + place.flip(0), torch.ones_like(place))  # symmetric
    slope = place.diff() / u.diff()
    torch.testing.assert_close(slope, importance[:-1], rtol=2e-3, atol=1e-4)
    assert importance.min() == importance[len(u) // 2] < 0.61
    assert importance.max() < 4.5
    inside = ((place - 0.5).abs() < BELL).double().mean()
    assert float(inside) == pytest.approx(0.6827 / 0.9545, abs=1e-3)


@settings(max_examples=30, deadline=None)
@given(first=st.integers(0, 10**6), seed=st.integers(0, 2**40), size=st.integers(16, 256))
def test_any_run_of_samples_is_spread_over_the_bell_in_strata(first, seed, size):
    """Each of `size` / 4 classes of equal probability holds 2 to 7 of `size` neighbors."""
    t = sample_t(torch.arange(first, first + size), seed=seed, epoch=1)
    place, _ = bell_shaped(t)
    edges, _ = bell_shaped(torch.arange(1, size // 4, dtype=torch.float64) / (size // 4))
    counts = torch.bincount(torch.bucketize(place, edges), minlength=size // 4)
    assert counts.min() >= 2
    assert counts.max() <= 7
