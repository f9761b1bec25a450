"""Multiple-choice continuations: the any-order bound against 128 draws a choice."""

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from benchmarks.parts import plain
from benchmarks.parts.command import main
from benchmarks.parts.estimators import eight_token_row
from benchmarks.parts.measure import compare, max_abs_diff
from benchmarks.parts.shapes import BOS, MASK, PAD, Pair, Shape, forward_flops, new_pair, random_ids
from diffutron.diffusion.likelihood.any_order import Score, score_continuations
from diffutron.modeling.head import logprob_fn

CONTEXT = 60
DRAWS = 128  # of the plain form for each choice
TIMED = 8  # of them, as one batch; all rows cost the same, so the rest is scaled

Item = tuple[list[int], list[int]]


def cases(shape: Shape, repeats: int) -> Iterator[dict]:
    models = new_pair(shape)
    yield choice_case("choice1_shared4", models, choices(4, 1, shape), repeats)
    yield choice_case("choice1", models, choices(1, 1, shape), repeats)
    yield choice_case("choice3", models, choices(4, 3, shape), repeats)
    yield eight_token_row()


def choices(number: int, length: int, shape: Shape) -> list[Item]:
    """Continuations of one context."""
    context = [BOS, *random_ids(CONTEXT - 1, shape=shape, seed=1).tolist()]
    continuations = random_ids(number, length, shape=shape, seed=2).tolist()
    return [(context, continuation) for continuation in continuations]


def our_scores(model: nn.Module, items: Sequence[Item]) -> list[Score]:
    return score_continuations(
        logprob_fn(model, mask_token_id=MASK), items, mask_token_id=MASK, pad_token_id=PAD
    )


def plain_draws(model: nn.Module, item: Item) -> None:
    """A batch of the plain estimate's draws for one choice."""
    generator = torch.Generator().manual_seed(0)
    masked = plain.uniform_size_masks(len(item[1]), TIMED, generator)
    sums = plain.subset_logprobs(model, *item, masked, mask_token_id=MASK)
    plain.uniform_size_estimate(sums, masked)


def exact_bound(model: nn.Module, item: Item) -> float:
    """The bound by its equation, from the plain form's value of every subset."""
    length = len(item[1])
    masked = torch.tensor([*itertools.product([False, True], repeat=length)][1:])
    sums = plain.subset_logprobs(model, *item, masked, mask_token_id=MASK).double()
    size = masked.sum(dim=1)
    by_size = [(sums[size == k] / k).mean() for k in range(1, length + 1)]
    return float(torch.stack(by_size).sum())


def choice_case(case: str, models: Pair, items: list[Item], repeats: int) -> dict:
    """`max_abs_diff`: of our values to the bound by enumeration, in nats."""
    scores = our_scores(models.ours, items)
    expected = torch.tensor([exact_bound(models.plain, item) for item in items])
    found = compare(
        case,
        lambda: plain_draws(models.plain, items[0]),
        lambda: our_scores(models.ours, items),
        repeats=repeats,
        scale=len(items) * DRAWS / TIMED,
    )
    rows = shared_rows(len(items), len(items[0][1]))
    length = CONTEXT + len(items[0][1])
    asked = num_asked(len(items), len(items[0][1]))
    return found.row(
        case,
        flops=forward_flops(models.ours, lengths=[length] * rows, num_asked=asked),
        max_abs_diff=max_abs_diff(torch.tensor([score.logprob for score in scores]), expected),
        exact=all(score.exact for score in scores),
        rows=rows,
        plain_rows=len(items) * DRAWS,
        plain_rows_timed=TIMED,
    )


def shared_rows(number: int, length: int) -> int:
    """Rows of all subsets of `number` choices that differ everywhere: the full mask is shared."""
    return number * (2**length - 2) + 1


def num_asked(number: int, length: int) -> int:
    """Positions of these rows that meet the head."""
    return number * (length * 2 ** (length - 1) - length) + length


if __name__ == "__main__":
    main(cases)
