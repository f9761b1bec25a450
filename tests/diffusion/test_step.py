"""Rows that join and leave between steps get the tokens that they get alone."""

import random

from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from diffutron.diffusion.sampling.canvas import Canvases, Denoised
from diffutron.diffusion.sampling.denoise import step
from diffutron.diffusion.sampling.settings import Settings

from .denoising import run
from .test_sampling import M, options

requests = st.lists(
    st.tuples(
        st.lists(st.sampled_from([0, 1, 2, 3, M, M, M]), max_size=11),
        options,
        st.integers(-3, 9),
        st.sampled_from([(), (2,)]),
    ),
    min_size=1,
    max_size=6,
)


def in_company(table, asked: list, chance: random.Random) -> list[Denoised]:
    """Rows join at random, a random part of them takes each step, finished ones leave."""
    found = [Denoised() for _ in asked]
    waiting = list(enumerate(asked))
    state, numbers = Canvases([], M, 0, Settings(num_steps=1), "cpu"), []
    while waiting or numbers:
        while waiting and chance.random() < 0.5:
            number, (canvas, setting, seed, ends) = waiting.pop(0)
            kind = Settings(**setting)
            state.join(Canvases([canvas], M, 0, kind, "cpu", seed=seed, end_token_ids=ends))
            numbers.append(number)
        alive = state.alive.nonzero().flatten()
        alive = alive[[chance.random() < 0.7 for _ in alive]]
        if len(alive):
            told = step(table.logits_fn, state, alive, record=True)
            for row, events in zip(alive, told, strict=True):
                found[numbers[int(row)]].events += events
                found[numbers[int(row)]].num_steps += 1
        for row in [row for row in range(len(numbers)) if not state.alive[row]]:
            result = found[numbers[row]]
            result.token_ids, result.canvas, result.ended = state.result(row)
        rows = state.alive.nonzero().flatten().tolist()
        state.keep(rows)
        numbers = [numbers[row] for row in rows]
    return found


@hypothesis(max_examples=60, deadline=None)
@given(asked=requests, chance=st.randoms(use_true_random=False))
def test_in_any_company_as_alone(make_table, asked, chance) -> None:
    table = make_table(5)
    together = in_company(table, asked, chance)
    for (canvas, setting, seed, ends), row in zip(asked, together, strict=True):
        assert run(table, [canvas], seed=seed, end_token_ids=ends, **setting) == [row]


def test_one_pass_serves_rows_of_every_setting(make_table) -> None:
    table = make_table(5)
    kinds = [
        {"temperature": 0.5},
        {"threshold": 0.9},
        {"guidance": 1.0, "strategy": "margin"},
        {"strategy": "random"},
    ]
    state = Canvases([], M, 0, Settings(num_steps=1), "cpu")
    for number, kind in enumerate(kinds):
        canvas = [number, *[M] * (number + 2)]
        state.join(Canvases([canvas], M, 0, Settings(num_steps=number + 2, **kind), "cpu"))
    step(table.logits_fn, state, state.alive.nonzero().flatten())
    assert table.calls == 1
