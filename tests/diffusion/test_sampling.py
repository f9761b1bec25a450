"""The denoising loop and its promises."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st
from torch import Tensor

from diffutron.diffusion.sampling.canvas import Denoised
from diffutron.diffusion.sampling.denoise import denoise, top_places
from diffutron.diffusion.sampling.settings import Settings
from diffutron.diffusion.sampling.token_choice import confidence

from .denoising import run

M = 4  # the mask token of a table over 5 tokens

options = st.fixed_dictionaries(
    {
        "strategy": st.sampled_from(["low_confidence", "margin", "entropy", "random"]),
        "temperature": st.sampled_from([0.0, 0.7]),
        "block_length": st.sampled_from([None, 2, 5]),
        "num_steps": st.integers(6, 14),
        "remask": st.sampled_from([0.0, 0.5]),
        "guidance": st.sampled_from([0.0, 1.5]),
        "repetition_penalty": st.sampled_from([1.0, 1.4]),
        "top_k": st.sampled_from([None, 2]),
        "top_p": st.sampled_from([1.0, 0.7]),
        "no_repeat_ngram": st.sampled_from([0, 2]),
    }
)
canvases_ = st.lists(
    st.lists(st.sampled_from([0, 1, 2, 3, M, M, M]), max_size=11), min_size=1, max_size=4
)


@pytest.fixture
def table(make_table):
    return make_table(5)


@hypothesis(max_examples=40, deadline=None)
@given(canvases=canvases_, setting=options, batch_rows=st.integers(1, 4), seed=st.integers(0, 9))
def test_whatever_the_settings(make_table, canvases, setting, batch_rows, seed) -> None:
    """No mask left, fixed tokens untouched, and each row as if it were alone, at any
    temperature.
    """
    table = make_table(5)
    together = run(table, canvases, batch_rows=batch_rows, seed=seed, **setting)
    for canvas, row in zip(canvases, together, strict=True):
        assert len(row.canvas) == len(canvas)
        assert M not in row.canvas
        assert all(a in (b, M) for a, b in zip(canvas, row.canvas, strict=True))
        assert row.token_ids == [b for a, b in zip(canvas, row.canvas, strict=True) if a == M]
        if not setting["no_repeat_ngram"]:
            assert row.num_steps <= setting["num_steps"]
        assert run(table, [canvas], seed=seed, **setting) == [row]
        assert replay(canvas, row) == row.canvas
    if setting["no_repeat_ngram"]:
        for canvas, row in zip(canvases, together, strict=True):
            assert not repeated_bigrams(canvas, row.canvas)


def replay(canvas: list[int], row: Denoised) -> list[int]:
    current = list(canvas)
    for event in row.events:
        assert (current[event.position] == M) == (event.token != M)
        assert canvas[event.position] == M
        current[event.position] = event.token
    return current


def repeated_bigrams(canvas: list[int], filled: list[int]) -> bool:
    """Whether two windows of generated tokens hold the same pair."""
    pairs = [
        (filled[i], filled[i + 1])
        for i in range(len(canvas) - 1)
        if canvas[i] == canvas[i + 1] == M
    ]
    return len(pairs) != len(set(pairs))


@pytest.mark.parametrize("strategy", ["low_confidence", "margin", "entropy"])
def test_greedy_matches_a_plain_loop(table, strategy: str) -> None:
    """Every position's logits each step, float64: the same canvases after each step."""
    canvas = [1, 0, *[M] * 6]
    plain = [list(canvas)]
    for _ in range(3):
        current = plain[-1]
        open_places = [i for i, token in enumerate(current) if token == M]
        found = []
        for place in open_places:
            probs = table.probs(current, place)
            best = sorted(probs.tolist(), reverse=True)
            measure = {
                "low_confidence": best[0],
                "margin": best[0] - best[1],
                "entropy": sum(p * math.log(p) for p in best if p > 0),
            }[strategy]
            found.append((-measure, place, int(probs.argmax())))
        plain.append(list(current))
        for _, place, token in sorted(found)[:2]:
            plain[-1][place] = token
    (row,) = run(table, [canvas], num_steps=3, strategy=strategy)
    for step in range(3):
        partial = Denoised(events=[event for event in row.events if event.step <= step])
        assert replay(canvas, partial) == plain[step + 1]


@hypothesis(max_examples=30, deadline=None)
@given(num_masks=st.integers(1, 12), num_steps=st.integers(1, 20))
def test_transfer_counts_add_up_and_are_even(make_table, num_masks: int, num_steps: int) -> None:
    (row,) = run(make_table(5), [[0, *[M] * num_masks]], num_steps=num_steps)
    counts = [sum(event.step == step for event in row.events) for step in range(row.num_steps)]
    assert sum(counts) == num_masks
    assert row.num_steps == min(num_steps, num_masks)
    assert max(counts) - min(counts) <= 1
    assert counts == sorted(counts, reverse=True)


def test_blocks_are_finished_left_to_right(table) -> None:
    (row,) = run(table, [[0, *[M] * 9]], num_steps=6, block_length=3)
    blocks = [(event.position - 1) // 3 for event in row.events]
    assert blocks == sorted(blocks)
    assert row.num_steps == 6


def test_logits_are_asked_only_where_a_decision_is_taken(table) -> None:
    run(table, [[0, *[M] * 8]], num_steps=8, block_length=4)
    assert table.decided == [4, 3, 2, 1, 4, 3, 2, 1]
    table.decided.clear()
    run(table, [[0, *[M] * 8]], num_steps=8, strategy="random")
    assert table.decided == [1] * 8


def test_ties_are_broken_by_position(table) -> None:
    def flat(ids: Tensor, _mask: Tensor | None, positions: Tensor) -> Tensor:
        return torch.zeros(int(positions.sum()), 5)

    (row,) = run(table, [[0, *[M] * 5]], num_steps=5, fn=flat)
    assert [event.position for event in row.events] == [1, 2, 3, 4, 5]
    assert row.token_ids == [0] * 5


def test_a_threshold_commits_all_that_is_sure(table) -> None:
    def sure(ids: Tensor, _mask: Tensor | None, positions: Tensor) -> Tensor:
        place = positions.nonzero()[:, 1]
        strength = torch.where(place % 2 == 1, 9.0, 0.5)
        return strength[:, None] * torch.eye(5)[2]

    (row,) = run(table, [[0, *[M] * 6]], num_steps=6, threshold=0.9, fn=sure)
    assert [event.position for event in row.events if event.step == 0] == [1, 3, 5]
    assert row.num_steps == 4
    (slow,) = run(table, [[0, *[M] * 6]], num_steps=6, threshold=0.9999, fn=sure)
    assert slow.num_steps == 6


def test_remasking_keeps_the_schedule_and_ends_clean(table) -> None:
    (row,) = run(table, [[0, *[M] * 10]], num_steps=20, remask=0.6, temperature=1.0)
    back = [event for event in row.events if event.token == M]
    assert back
    assert M not in row.canvas
    for step in range(row.num_steps):
        canvas = replay([0, *[M] * 10], Denoised(events=[e for e in row.events if e.step <= step]))
        assert canvas.count(M) == max(0, 10 - (step + 1)) or step >= 10


def test_watch_is_told_every_step(table) -> None:
    told: list[tuple[int, int]] = []
    rows = denoise(
        table.logits_fn,
        [[0, M, M], [1, M]],
        mask_token_id=M,
        pad_token_id=0,
        settings=Settings(num_steps=2),
        watch=lambda row, events: told.extend((row, event.position) for event in events),
    )
    assert sorted(told) == [(0, 1), (0, 2), (1, 1)]
    assert rows[0].events == []


def test_nothing_to_do(table) -> None:
    assert run(table, []) == []
    rows = run(table, [[], [1, 2]])
    assert [row.canvas for row in rows] == [[], [1, 2]]
    assert table.calls == 0


def test_nan_logits_are_refused(table) -> None:
    def broken(ids: Tensor, _mask: Tensor | None, positions: Tensor) -> Tensor:
        return torch.full((int(positions.sum()), 5), math.nan)

    for strategy in ("low_confidence", "margin", "entropy", "random"):
        with pytest.raises(ValueError, match="NaN logits"):
            run(table, [[0, M]], fn=broken, strategy=strategy)


def test_fewer_steps_than_blocks(table) -> None:
    with pytest.raises(
        ValueError, match="num_steps=2 must be at least one for each of the 3 blocks"
    ):
        run(table, [[M] * 6], num_steps=2, block_length=2)


def test_top_places_takes_the_first_of_equals() -> None:
    value = torch.tensor([[1.0, 3.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    allowed = torch.tensor([[True, True, True, True], [False, True, True, False]])
    chosen = top_places(value, allowed, torch.tensor([2, 1]))
    assert chosen.tolist() == [[False, True, True, False], [False, True, False, False]]


def test_confidence_of_impossible_tokens_is_finite() -> None:
    logits = torch.tensor([[0.0, -math.inf, 1.0], [-math.inf, 2.0, -math.inf]])
    tokens = logits.argmax(dim=1)
    for measure in ("low_confidence", "margin", "entropy"):
        assert confidence(logits, tokens, measure=measure).isfinite().all()
    assert float(confidence(logits, tokens, measure="margin")[1]) == 1.0
