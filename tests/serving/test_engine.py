"""Rows of many requests in one pass: their texts, their turns, and how they leave."""

import math
import queue
import random
import threading
import time
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from diffutron.diffusion.sampling.canvas import Canvases
from diffutron.diffusion.sampling.denoise import denoise
from diffutron.inference.generation import plan_generation
from diffutron.modeling.head import logits_fn
from diffutron.serving.engine import FILLED, Engine, Late, QueueFull, Row, Stopping, choose

PROMPTS = ["Kedi", "Ankara nerede?", "Yarın sabah erkenden yola çıkacağız.", "Çocuklar " * 12]
MARGIN = 1e-4  # decisions closer than this may differ between batches


def make_row(lm: Any, prompt: str, told: Any, *, seed: int = 0, wait: float = 60.0, **given: Any):
    plan = plan_generation(lm, [prompt], given, chat=True)
    canvases = Canvases(
        plan.canvases,
        lm.mask_token_id,
        lm.pad_token_id,
        plan.settings,
        lm.device,
        seed=seed,
        end_token_ids=plan.end_token_ids,
    )
    deadline = time.monotonic() + wait
    return Row(canvases, deadline=deadline, tell=told, find_end=plan.find_end)


def offline(lm: Any, prompt: str, *, seed: int, noise: int = 0, **given: Any) -> list[int]:
    """The row alone; `noise` moves its logits by up to MARGIN."""
    plan = plan_generation(lm, [prompt], given, chat=True)
    fn = logits_fn(lm.model, mask_token_id=lm.mask_token_id)
    chance = torch.Generator().manual_seed(noise)

    def moved(*asked: Any) -> torch.Tensor:
        logits = fn(*asked)
        return logits + MARGIN * (2 * torch.rand(logits.shape, generator=chance) - 1)

    (row,) = denoise(
        moved if noise else fn,
        plan.canvases,
        mask_token_id=lm.mask_token_id,
        pad_token_id=lm.pad_token_id,
        settings=plan.settings,
        seed=seed,
        end_token_ids=plan.end_token_ids,
        find_end=plan.find_end,
    )
    return row.token_ids


def random_requests(count: int, chance: random.Random) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for _ in range(count):
        tokens = chance.choice([4, 8, 16])
        given = {
            "max_new_tokens": tokens,
            "num_steps": chance.choice([tokens // 2, tokens]),
            "block_length": chance.choice([tokens // 2, tokens]),
            "temperature": chance.choice([0.0, 0.0, 0.3, 1.0]),
            "threshold": chance.choice([None, 0.05]),
            "guidance": chance.choice([0.0, 0.0, 0.0, 1.0]),
            "remask": chance.choice([0.0, 0.0, 0.5]),
            "seed": chance.randrange(100),
        }
        found.append((chance.choice(PROMPTS), given))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("max_batch_tokens", [150, 4096])
def test_a_text_is_the_same_in_any_company(lm, engine, max_batch_tokens) -> None:
    chance = random.Random(max_batch_tokens)
    running = engine(max_batch_tokens=max_batch_tokens)
    requests = random_requests(60, chance)
    told: queue.Queue[Any] = queue.Queue()
    for number, (prompt, asked) in enumerate(requests):
        row = make_row(lm, prompt, lambda p, n=number: told.put((n, p)), **asked)
        running.submit([row])
        time.sleep(chance.choice([0, 0, 0, 0.01]))
    found = {}
    for _ in requests:
        number, progress = told.get(timeout=60)
        found[number] = progress.result.token_ids
    assert running.num_row_passes > running.num_passes  # rows did share passes
    differing = [
        (prompt, asked)
        for number, (prompt, asked) in enumerate(requests)
        if offline(lm, prompt, **asked) != found[number]
    ]
    for prompt, asked in differing:  # only where the offline decision hangs on a hair
        alone = offline(lm, prompt, **asked)
        assert any(offline(lm, prompt, noise=n, **asked) != alone for n in range(1, 9))
    assert len(differing) <= math.ceil(sum(map(len, found.values())) / 1000)


@hypothesis(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 500), min_size=1, max_size=30),
    max_tokens=st.integers(1, 2000),
    guided=st.booleans(),
)
def test_passes_are_bounded_and_every_row_gets_its_turn(lengths, max_tokens, guided) -> None:
    last, copies = [0] * len(lengths), [1 + guided] * len(lengths)
    served = [0] * len(lengths)
    for number in range(1, len(lengths) + 1):
        rows = choose(lengths, last, copies, max_tokens=max_tokens)
        real = sum(lengths[row] for row in rows) * (1 + guided)
        padded = max(lengths[row] for row in rows) * len(rows) * (1 + guided)
        assert len(rows) == 1 or (padded <= max_tokens and real >= FILLED * padded)
        for row in rows:
            last[row] = number
            served[row] += 1
    assert min(served) >= 1


def test_a_short_request_does_not_wait_for_long_ones(lm, engine) -> None:
    running: Engine = engine(max_batch_tokens=250, start=False)
    order: list[str] = []
    done = threading.Event()

    def tell(name: str):
        def told(progress: Any) -> None:
            order.append(name)
            if len(order) == 13:
                done.set()

        return told

    running.start()
    long = {"max_new_tokens": 100, "num_steps": 50, "block_length": 100}
    suppress = tuple(plan_generation(lm, ["a"], {}, chat=True).end_token_ids)  # no early end
    rows = [make_row(lm, "Kedi", tell("long"), **long, suppress=suppress) for _ in range(12)]
    running.submit(rows)
    while running.num_passes < 20:
        time.sleep(0.001)
    running.submit([make_row(lm, "Kedi", tell("short"), max_new_tokens=2)])
    assert done.wait(60)
    assert order[0] == "short"


def test_a_row_that_nobody_wants_leaves_at_the_next_step(lm, engine) -> None:
    running = engine(start=False)
    told: list[Any] = []
    suppress = tuple(plan_generation(lm, ["a"], {}, chat=True).end_token_ids)
    given = {"max_new_tokens": 16, "suppress": suppress}
    left = make_row(lm, "Kedi", told.append, **given)
    stays = make_row(lm, "Ankara nerede?", told.append, **given)
    running.start()
    left.gone = True
    running.submit([left, stays])
    while not told:
        time.sleep(0.001)
    assert (left.num_steps, stays.num_steps) == (0, 16)
    assert told[0].result.token_ids == offline(lm, "Ankara nerede?", seed=0, **given)
    given_up = time.monotonic() + 30
    while running.num_held and time.monotonic() < given_up:  # a row is told before it leaves
        time.sleep(0.001)
    assert (running.num_held, running.rows, len(running.state.alive)) == (0, [], 0)


def test_the_queue_is_bounded(lm, engine) -> None:
    running = engine(max_rows=3)
    rows = [make_row(lm, "Kedi", lambda p: None, max_new_tokens=100) for _ in range(4)]
    with pytest.raises(QueueFull, match="of 3 rows"):
        running.submit(rows)
    assert running.num_held == 0
    running.submit(rows[:3])
    with pytest.raises(QueueFull):
        running.hold(3)


def test_a_deadline_ends_a_row(lm, engine) -> None:
    running = engine()
    told: queue.Queue[Any] = queue.Queue()
    running.submit([make_row(lm, "Kedi", told.put, wait=-1.0), make_row(lm, "Kedi", told.put)])
    errors = [told.get(timeout=30).error for _ in range(2)]
    assert [type(error) for error in errors] == [Late, type(None)]


def test_a_pass_that_fails_ends_its_rows_alone(lm, engine) -> None:
    running = engine(start=False)
    told: queue.Queue[Any] = queue.Queue()
    fn = running.logits_fn

    def fails_once(*asked: Any) -> Any:
        running.logits_fn = fn
        raise RuntimeError("out of memory")

    running.logits_fn = fails_once
    running.start()
    running.submit([make_row(lm, "Kedi", told.put)])
    assert "out of memory" in str(told.get(timeout=30).error)
    running.submit([make_row(lm, "Kedi", told.put, max_new_tokens=4)])
    assert told.get(timeout=30).error is None


def test_other_work_takes_turns_with_the_steps(lm, engine) -> None:
    running = engine()
    assert running.run(lambda: threading.current_thread().name) == "engine"
    with pytest.raises(ValueError, match="invalid literal"):
        running.run(lambda: int("x"))
    assert running.alive


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_of_the_code_ends_the_engine_and_everybody_is_told(lm, engine) -> None:
    running = engine()
    with pytest.raises(Stopping):
        running.run(lambda: 1 // 0)
    running.thread.join(30)
    with pytest.raises(Stopping):
        running.submit([])


def test_who_is_left_is_told_that_it_stops(lm, engine) -> None:
    running = engine()
    told: queue.Queue[Any] = queue.Queue()
    running.submit([make_row(lm, "Kedi", told.put, max_new_tokens=100)])
    running.stop()
    progress = told.get(timeout=30)
    assert progress.result is not None or isinstance(progress.error, Stopping)
    with pytest.raises(Stopping):
        running.submit([])
