"""The any-order bound and its relatives against enumeration."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffutron.diffusion.likelihood.any_order import (
    add_scores,
    fit,
    nelbo,
    score_continuations,
    windows,
)
from diffutron.diffusion.likelihood.mask_rates import masked_nll, pseudo_loglikelihood
from diffutron.diffusion.likelihood.subsets import plan_subsets
from diffutron.diffusion.process.noise import uniform

X = [0, 1, 2, 1, 0, 2, 2, 1]


def ids_of(table) -> dict[str, int]:
    return {"mask_token_id": table.mask, "pad_token_id": 0}


@pytest.mark.parametrize("length", range(1, 7))
def test_score_is_the_bound_by_enumeration(table, length: int) -> None:
    context, x = [2, 1], X[:length]
    (score,) = score_continuations(table.logprob_fn, [(context, x)], **ids_of(table))
    assert score.logprob == pytest.approx(table.bound(context, x), rel=1e-12)
    assert (score.exact, score.stderr, score.num_tokens) == (True, 0.0, length)
    assert score.num_rows == 2**length - 1 == table.rows


@pytest.mark.parametrize("ending", [(1,), (3, 3), (2, 3, 0)])
def test_an_ending_is_read_and_not_scored(table, ending: tuple[int, ...]) -> None:
    """It may hold masks (3), and equal continuations before other endings are other rows."""
    context, x = [2, 1], X[:3]
    items, ends = [(context, x)] * 2, [ending, ()]
    scores = score_continuations(table.logprob_fn, items, endings=ends, **ids_of(table))
    assert table.rows == 2 * 7
    for score, end in zip(scores, ends, strict=True):
        assert score.logprob == pytest.approx(table.bound(context, x, end), rel=1e-12)
        assert (score.num_tokens, score.num_rows) == (3, 7)


@pytest.fixture(scope="module")
def subset_sums(make_table) -> tuple[float, torch.Tensor]:
    """The exact bound of X given [1], and f(S) of each of its 255 subsets by their bits."""
    table = make_table()
    sums = torch.zeros(256, dtype=torch.float64)
    for code in range(1, 256):
        masked = [i for i in range(8) if code >> i & 1]
        row = [1, *(table.mask if i in masked else v for i, v in enumerate(X))]
        sums[code] = sum(float(table.probs(row, 1 + i)[X[i]].log()) for i in masked)
    return table.bound([1], X), sums


@pytest.mark.parametrize("max_rows", [2, 3, 9, 40, 128])
def test_sampled_scores_are_unbiased_with_honest_errors(subset_sums, max_rows: int) -> None:
    exact, sums = subset_sums
    bits = 1 << torch.arange(8)
    found = []
    for seed in range(200):
        plan = plan_subsets(8, max_rows=max_rows, seed=seed)
        found.append(plan.estimate(sums[(plan.masked * bits).sum(dim=1)]))
    values, errors = torch.tensor(found, dtype=torch.float64).T
    spread = float(values.std())
    assert abs(float(values.mean()) - exact) < 4 * spread / math.sqrt(len(found))
    assert math.sqrt(float((errors**2).mean())) == pytest.approx(spread, rel=0.25)


def spread_and_errors(found: list[list[tuple[float, float]]]) -> tuple[float, float]:
    """Standard deviation over seeds, and root mean square of stderr, of (value, stderr)
    [seed][case].
    """
    values, errors = torch.tensor(found, dtype=torch.float64).unbind(dim=2)
    return math.sqrt(float(values.var(dim=0).mean())), math.sqrt(float((errors**2).mean()))


@pytest.mark.slow
@pytest.mark.parametrize(("length", "max_rows"), [(3, 6), (8, 16), (20, 16)])
def test_the_square_of_a_standard_error_is_the_variance_over_seeds(length, max_rows: int) -> None:
    """Estimates on random tables: each token behind each subset has a random probability.

    The mean of the squares is compared with the variance: the square root of an unbiased estimate
    is too small on average. Other seeds and tables spread the ratio by 0.013 at most, so what is
    allowed is more than 3 times that. The three cases draw 2 of the 3 subsets of a size, 2 of many,
    and subsets of a range of sizes.
    """
    num_seeds, num_tables = 300, 20
    token, bits = torch.arange(length), 1 << torch.arange(length)
    tables = torch.arange(num_tables)[:, None, None]
    found = []
    for seed in range(num_seeds):
        plan = plan_subsets(length, max_rows=max_rows, seed=seed)
        assert not plan.exact
        subset = (plan.masked * bits).sum(dim=1, keepdim=True)
        sums = (uniform(tables, subset, token).log() * plan.masked).sum(dim=2)
        found.append([plan.estimate(row) for row in sums])
    spread, error = spread_and_errors(found)
    assert error / spread == pytest.approx(1, abs=0.05)


def test_a_text_that_repeats_itself_has_an_honest_error(make_table) -> None:
    """Its windows are equal and their draws are not. Equal draws would have equal errors, whose sum
    is larger than `add_scores` says.
    """
    table = make_table()
    texts = [[*x] * 6 for x in ([0, 1, 2, 1], [2, 2, 0, 1], [1, 0, 0, 2])]
    options = {"begin": [2], "max_length": 9, "num_samples": 4, **ids_of(table)}
    assert windows([2], texts[0], max_length=9)[1:] == [([2, *texts[0][:4]], texts[0][:4])] * 4
    found = [
        [(s.logprob, s.stderr) for s in nelbo(table.logprob_fn, texts, seed=seed, **options)]
        for seed in range(60)
    ]
    spread, error = spread_and_errors(found)
    assert error / spread == pytest.approx(1, abs=0.2)


def test_a_sampled_score_is_its_plan_over_the_model(table) -> None:
    options = {"max_rows": 40, **ids_of(table)}
    (score,) = score_continuations(table.logprob_fn, [([1], X)], **options)
    assert (score.num_rows, score.exact, table.rows) == (40, False, 40)
    assert abs(score.logprob - table.bound([1], X)) < 4 * score.stderr
    (other,) = score_continuations(table.logprob_fn, [([1], X)], seed=1, **options)
    assert other.logprob != score.logprob


@settings(max_examples=40, deadline=None)
@given(
    length=st.integers(1, 90), max_rows=st.integers(2, 200), seed=st.integers(-(2**63), 2**63 - 1)
)
def test_plans_spend_the_budget_and_can_tell_their_error(length, max_rows: int, seed: int) -> None:
    plan = plan_subsets(length, max_rows=max_rows, seed=seed)
    assert len(plan.masked) == min(max_rows, 2**length - 1)
    assert plan.masked.any(dim=1).all()
    assert plan.exact == (2**length - 1 <= max_rows)
    assert sum(stratum.num_sizes for stratum in plan.strata) == length
    for stratum in plan.strata:
        rows = plan.masked[stratum.rows]
        assert len(rows) >= min(2, stratum.population)
        if stratum.population < math.inf:
            assert len(torch.unique(rows, dim=0)) == len(rows)
            assert len(torch.unique(rows.sum(dim=1))) == 1
    ones = torch.ones(len(plan.masked), dtype=torch.float64)
    assert plan.estimate(plan.masked.sum(dim=1) * ones)[0] == pytest.approx(length)


def test_one_row_for_all_one_token_choices(table) -> None:
    items = [([2, 0], [token]) for token in range(3)]
    scores = score_continuations(table.logprob_fn, items, **ids_of(table))
    assert table.rows == 1
    assert sum(math.exp(score.logprob) for score in scores) == pytest.approx(1)
    assert [score.num_rows for score in scores] == [1, 1, 1]


def test_choices_of_a_context_share_their_common_rows(table) -> None:
    items = [([2], [0, 1, 2]), ([2], [0, 1, 1]), ([2], [1, 1, 2]), ([0], [0, 1, 2])]
    rows = {
        (tuple(context), *(table.mask if m else v for m, v in zip(masked, x, strict=True)))
        for context, x in items
        for masked in itertools.product([False, True], repeat=3)
        if any(masked)
    }
    score_continuations(table.logprob_fn, items, **ids_of(table))
    assert table.rows == len(rows) < 28


@settings(max_examples=25, deadline=None)
@given(
    items=st.lists(
        st.tuples(st.lists(st.integers(0, 2), max_size=4), st.lists(st.integers(0, 2), max_size=6)),
        max_size=6,
    ),
    batch_rows=st.integers(1, 9),
)
def test_scores_do_not_depend_on_batches_or_company(make_table, items, batch_rows) -> None:
    table = make_table()
    options = {"max_rows": 20, "seed": 3, **ids_of(table)}
    together = score_continuations(table.logprob_fn, items, batch_rows=batch_rows, **options)
    alone = [score_continuations(table.logprob_fn, [item], **options)[0] for item in items]
    assert [s.logprob for s in together] == pytest.approx([s.logprob for s in alone])
    assert together == score_continuations(
        table.logprob_fn, items, batch_rows=batch_rows, **options
    )


def test_windows_cover_a_text_once_and_add_up(table) -> None:
    ids = [0, 1, 2, 2, 1, 0, 1, 2, 0, 0, 1]
    items = windows([2], ids, max_length=6)
    assert [x for _, part in items for x in part] == ids
    assert all(len(context) + len(part) <= 6 for context, part in items)
    assert items[1][0] == [2, *ids[3:5]]
    (score,) = nelbo(
        table.logprob_fn, [ids], begin=[2], max_length=6, num_samples=40, **ids_of(table)
    )
    expected = sum(table.bound(context, part) for context, part in items)
    assert score.logprob == pytest.approx(expected)
    assert (score.exact, score.num_tokens) == (True, 11)
    with pytest.raises(ValueError, match="max_length=1 leaves no room"):
        windows([2], ids, max_length=1)


def test_fit_drops_the_context_first() -> None:
    assert fit([9], [1, 2, 3], [4, 5], max_length=10) == ([([9, 1, 2, 3], [4, 5])], 0)
    assert fit([9], [1, 2, 3], [4, 5], max_length=4) == ([([9, 3], [4, 5])], 2)
    items, dropped = fit([9], [1, 2], [4, 5, 6, 7], max_length=4)
    assert dropped == 2
    assert [x for _, part in items for x in part] == [4, 5, 6, 7]


def test_nelbo_of_different_texts_has_independent_draws(table) -> None:
    x = [0, 1, 2, 1, 0, 2, 2, 1, 0, 1]
    options = {"begin": [2], "max_length": 20, "num_samples": 12, **ids_of(table)}
    first, again = (nelbo(table.logprob_fn, [x, []], **options) for _ in range(2))
    assert first == again
    assert first[1] == add_scores([])
    assert first[0].stderr > 0


def test_bad_items(table) -> None:
    with pytest.raises(ValueError, match="continuation 1 holds the mask token"):
        score_continuations(table.logprob_fn, [([0], [1]), ([0], [3])], **ids_of(table))
    with pytest.raises(ValueError, match="max_rows=0, batch_rows=64: both must be at least 1"):
        score_continuations(table.logprob_fn, [], max_rows=0, **ids_of(table))
    with pytest.raises(ValueError, match="max_rows=1: 2 tokens have 3 subsets"):
        score_continuations(table.logprob_fn, [([0], [1, 2])], max_rows=1, **ids_of(table))


def test_nan_is_refused(table) -> None:
    def broken(*args):
        return table.logprob_fn(*args) * math.nan

    with pytest.raises(ValueError, match="logprob_fn: the model returned NaN"):
        score_continuations(broken, [([0], [1])], **ids_of(table))


@pytest.mark.parametrize("length", range(1, 6))
def test_orders_against_their_definitions(table, length: int) -> None:
    context, x = [1], X[:length]
    options = {**ids_of(table), "batch_rows": 3}

    def order_logprob(order: tuple[int, ...]) -> float:
        row = [*context, *[table.mask] * length]
        total = 0.0
        for i in order:
            total += float(table.probs(row, 1 + i)[x[i]].log())
            row[1 + i] = x[i]
        return total

    orders = [order_logprob(order) for order in itertools.permutations(range(length))]
    mixture = math.log(sum(map(math.exp, orders)) / len(orders))
    (score,) = score_continuations(table.logprob_fn, [(context, x)], **options)
    assert score.logprob == pytest.approx(sum(orders) / len(orders))
    assert score.logprob <= mixture + 1e-12  # Jensen: a bound on the sampler `random`
    pseudo = 0.0
    for i in range(length):
        row = [*context, *x]
        row[1 + i] = table.mask
        pseudo += float(table.probs(row, 1 + i)[x[i]].log())
    assert pseudo_loglikelihood(table.logprob_fn, [(context, x)], **options) == pytest.approx(
        [pseudo]
    )


def test_masked_nll_by_rate(table) -> None:
    items = [([1], X), ([2], X[:3])]
    bands = ((0.0, 0.2), (0.8, 1.0))
    options = {"bands": bands, "num_draws": 40, **ids_of(table)}
    found = masked_nll(table.logprob_fn, items, **options)
    assert found == masked_nll(table.logprob_fn, items, batch_rows=7, **options)
    low, high = found[0]
    assert (low.low, low.high, high.low, high.high) == (0.0, 0.2, 0.8, 1.0)
    assert low.num_tokens / 40 == pytest.approx(1.3, abs=0.3)  # at least one, at rate 0.1 of 8
    assert high.num_tokens / 40 == pytest.approx(7.2, abs=0.4)
    singles = -pseudo_loglikelihood(table.logprob_fn, [([2], X[:3])], **ids_of(table))[0] / 3
    many = masked_nll(
        table.logprob_fn, [([2], X[:3])], bands=((0.0, 1e-9),), num_draws=900, **ids_of(table)
    )[0][0]
    assert many.num_tokens == 900  # one mask a draw: the mean is the pseudo-likelihood's
    assert many.nats / 900 == pytest.approx(singles, rel=0.1)
