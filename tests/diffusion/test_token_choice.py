"""What changes a decision of the denoising loop: guidance, penalties, n-grams, ends."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from diffutron.diffusion.sampling.token_choice import NGrams, guide, penalize_

from .denoising import run

M = 4  # the mask token of a table over 5 tokens


@pytest.fixture
def table(make_table):
    return make_table(5)


def test_guidance_is_the_formula(table) -> None:
    cond, uncond = torch.randn(2, 3, 5).unbind(0)
    torch.testing.assert_close(guide(cond, uncond, scale=2.0), 3 * cond - 2 * uncond)
    seen: list[Tensor] = []

    def fn(ids: Tensor, mask: Tensor | None, positions: Tensor) -> Tensor:
        seen.append(ids.clone())
        return table.logits_fn(ids, mask, positions)

    run(table, [[1, 2, M, M], [3, M]], num_steps=2, guidance=0.5, fn=fn)
    assert seen[0].tolist() == [[1, 2, M, M], [3, M, 0, 0], [M, M, M, M], [M, M, 0, 0]]


def test_repetition_penalty_reads_generated_tokens_only(table) -> None:
    logits = torch.tensor([[2.0, -1.0, 0.5, 0.0, -math.inf]])
    penalize_(logits, torch.tensor([[0, 1, 1, 4]]), penalty=2.0)
    assert logits.tolist() == [[1.0, -2.0, 0.5, 0.0, -math.inf]]

    def likes_two(ids: Tensor, _mask: Tensor | None, positions: Tensor) -> Tensor:
        return torch.tensor([0.0, 0.0, 1.0, 0.9, 0.0]).repeat(int(positions.sum()), 1)

    (row,) = run(table, [[2, 2, M, M, M]], num_steps=3, repetition_penalty=1.5, fn=likes_two)
    assert row.token_ids[0] == 2  # the prompt's twos do not count
    assert row.token_ids[1] == 3


def test_ngrams_see_windows_with_one_open_place() -> None:
    ids = torch.tensor([9, 1, 2, M, 2, M, 9])
    known = torch.tensor([False, True, True, False, True, False, False])
    ngrams = NGrams(ids, known, size=2)
    assert ngrams.completions(3) == [1, 2]  # 1 2 again; 2 2 twice at once
    assert ngrams.completions(5) == []
    assert ngrams.commit(3, 3)
    assert not ngrams.commit(3, 1)
    doubled = NGrams(torch.tensor([3, M, 3]), torch.tensor([True, False, True]), size=2)
    assert doubled.completions(1) == [3]  # 3 3 twice at once
    assert ngrams.completions(5) == [3]  # 2 3 now stands at 2


def test_ngram_blocking_without_a_way_out_says_so(table) -> None:
    with pytest.raises(ValueError, match="no_repeat_ngram=1 bans every token"):
        run(table, [[0, *[M] * 6]], num_steps=6, no_repeat_ngram=1)


def test_suppressed_and_mask_tokens_are_never_produced(table) -> None:
    def wants_mask(ids: Tensor, _mask: Tensor | None, positions: Tensor) -> Tensor:
        return torch.tensor([0.0, 1.0, 5.0, 0.5, 99.0]).repeat(int(positions.sum()), 1)

    for temperature in (0.0, 1.0, 50.0):
        (row,) = run(
            table,
            [[0, *[M] * 30]],
            num_steps=30,
            fn=wants_mask,
            suppress=(2,),
            temperature=temperature,
        )
        assert not {2, M} & set(row.token_ids)


def test_the_end_policy_stops_a_row_and_frees_its_place(table) -> None:
    def ends_at(place: int):
        def fn(ids: Tensor, _mask: Tensor | None, positions: Tensor) -> Tensor:
            table.decided.append(len(ids))
            found = positions.nonzero()[:, 1]
            return torch.where(found == place, 3, 1)[:, None].eq(torch.arange(5)) * (
                9.0 - found[:, None] / 10
            )

        return fn

    (row,) = run(table, [[3, *[M] * 8]], fn=ends_at(4), end_token_ids=[3])
    assert (row.token_ids, row.canvas, row.ended) == ([1, 1, 1], [3, 1, 1, 1], True)
    assert row.num_steps == 4
    table.decided.clear()
    rows = run(table, [[3, *[M] * 8]] * 3, fn=ends_at(2), end_token_ids=[3], batch_rows=2)
    assert [r.token_ids for r in rows] == [[1]] * 3
    assert table.decided == [2, 2, 1, 1]


def test_an_end_token_waits_for_what_comes_before_it(table) -> None:
    def backwards(ids: Tensor, _mask: Tensor | None, positions: Tensor) -> Tensor:
        place = positions.nonzero()[:, 1]
        return torch.where(place == 4, 3, 1)[:, None].eq(torch.arange(5)) * (1.0 + place[:, None])

    (row,) = run(table, [[0, *[M] * 6]], num_steps=6, fn=backwards, end_token_ids=[3])
    assert [event.position for event in row.events] == [6, 5, 4, 3, 2, 1]
    assert (row.token_ids, row.ended) == ([1, 1, 1], True)


def test_find_end_reads_the_gapless_beginning(table) -> None:
    seen: list[list[int]] = []

    def find_end(ids: list[int]) -> int | None:
        seen.append(ids)
        return 2 if len(ids) >= 3 else None

    (row,) = run(table, [[0, 1, *[M] * 5]], num_steps=5, strategy="random", find_end=find_end)
    assert len(row.token_ids) == 2
    assert row.ended
    assert all(a == b[: len(a)] for a, b in itertools.pairwise(seen))
