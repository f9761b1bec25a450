"""Denoising steps of a 128-token answer: blocks of 32, low confidence, one token a step.

Timed are the first steps of the first block, where most positions are still open: the least
favorable ones for a head that is computed at open positions alone.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from benchmarks.parts import plain
from benchmarks.parts.command import main
from benchmarks.parts.measure import compare, max_abs_diff
from benchmarks.parts.shapes import BOS, MASK, PAD, Pair, Shape, forward_flops, new_pair, random_ids
from diffutron.diffusion.sampling.canvas import Event
from diffutron.diffusion.sampling.denoise import denoise
from diffutron.diffusion.sampling.settings import Settings
from diffutron.modeling.head import logits_fn

NEW_TOKENS, BLOCK = 128, 32
ONE = [64]
EIGHT = [29, 34, 39, 44, 49, 54, 59, 64]


def cases(shape: Shape, repeats: int) -> Iterator[dict]:
    models = new_pair(shape)
    yield sampling_case("greedy_b1", models, Answers(ONE, shape), repeats, num_steps=8)
    yield sampling_case("greedy_b8", models, Answers(EIGHT, shape), repeats, num_steps=2)
    yield sampling_case("t1", models, Answers(ONE, shape), repeats, num_steps=4, temperature=1.0)


@dataclass
class Answers:
    """Prompts of these lengths and their 128 masks, for both forms."""

    prompt_lengths: Sequence[int]
    shape: Shape
    canvases: list[list[int]] = field(init=False)

    def __post_init__(self) -> None:
        self.canvases = [
            [BOS, *random_ids(n - 1, shape=self.shape, seed=n).tolist(), *[MASK] * NEW_TOKENS]
            for n in self.prompt_lengths
        ]

    @property
    def lengths(self) -> list[int]:
        return [len(canvas) for canvas in self.canvases]

    def padded(self) -> tuple[Tensor, Tensor, Tensor]:
        """Ids and attention mask [B, L], and where the masks of each row begin [B]."""
        rows = [torch.tensor(canvas) for canvas in self.canvases]
        ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)
        real = torch.arange(ids.shape[1]) < torch.tensor(self.lengths)[:, None]
        return ids, real, torch.tensor(self.prompt_lengths)


def plain_steps(
    model: nn.Module, answers: Answers, *, num_steps: int, temperature: float
) -> list[Tensor]:
    """The canvas [B, L] after each of the first steps."""
    ids, real, first = answers.padded()
    torch.manual_seed(0)
    steps = plain.denoise(
        model,
        ids,
        real,
        first,
        num_steps=NEW_TOKENS,
        block_length=BLOCK,
        temperature=temperature,
        mask_token_id=MASK,
    )
    return list(itertools.islice(steps, num_steps))


def our_steps(
    model: nn.Module, answers: Answers, *, num_steps: int, temperature: float
) -> list[Tensor]:
    """The same through the denoising loop, whose end policy stops every row after these steps."""
    canvas, passes = answers.padded()[0], 0
    seen: list[Tensor] = []

    def watch(row: int, events: list[Event]) -> None:
        for event in events:
            canvas[row, event.position] = event.token
        if row == len(canvas) - 1:
            seen.append(canvas.clone())

    def find_end(_filled: list[int]) -> int | None:
        nonlocal passes
        passes += 1
        return 0 if passes > (num_steps - 1) * len(canvas) else None

    denoise(
        logits_fn(model, mask_token_id=MASK),
        answers.canvases,
        mask_token_id=MASK,
        pad_token_id=PAD,
        settings=Settings(num_steps=NEW_TOKENS, block_length=BLOCK, temperature=temperature),
        find_end=find_end,
        watch=watch,
    )
    return seen


def sampling_case(
    case: str,
    models: Pair,
    answers: Answers,
    repeats: int,
    *,
    num_steps: int,
    temperature: float = 0.0,
) -> dict:
    """`max_abs_diff`: of the canvases after every step in float64 (greedy), or of the
    distributions that the tokens are drawn from (temperature above 0)."""
    options = {"num_steps": num_steps, "temperature": temperature}
    plain_steps(models.plain, answers, num_steps=1, temperature=temperature)
    our_steps(models.ours, answers, num_steps=1, temperature=temperature)
    found = compare(
        case,
        lambda: plain_steps(models.plain, answers, **options),
        lambda: our_steps(models.ours, answers, **options),
        repeats=repeats,
    )
    asked = len(answers.lengths) * (BLOCK - (num_steps - 1) / 2)
    flops = num_steps * forward_flops(models.ours, lengths=answers.lengths, num_asked=asked)
    for model in (models.plain, models.ours):
        model.double()
    if temperature:
        difference = distribution_diff(models, answers, temperature)
    else:
        theirs = plain_steps(models.plain, answers, **options)
        ours = our_steps(models.ours, answers, **options)
        difference = max_abs_diff(torch.stack(theirs), torch.stack(ours))
    for model in (models.plain, models.ours):
        model.float()
    return found.row(
        case,
        flops=flops,
        max_abs_diff=difference,
        steps=num_steps,
        plain_seconds_per_step=round(found.plain.median / num_steps, 5),
        ours_seconds_per_step=round(found.ours.median / num_steps, 5),
    )


@torch.no_grad()
def distribution_diff(models: Pair, answers: Answers, temperature: float) -> float:
    """Between the probabilities of the first block's tokens in the first step of both forms."""
    ids, real, first = answers.padded()
    place = torch.arange(ids.shape[1])
    asked = (place >= first[:, None]) & (place < first[:, None] + BLOCK)
    logits = models.plain(input_ids=ids, attention_mask=real).logits
    logits[..., MASK] = plain.NEVER
    ours = logits_fn(models.ours, mask_token_id=MASK)(ids, real, asked)
    return max_abs_diff((logits[asked] / temperature).softmax(-1), (ours / temperature).softmax(-1))


if __name__ == "__main__":
    main(cases)
