"""A model with its whole vocabulary beside the same one cut to a tenth of the entries.

Here the plain form is the whole model, and both run our code: a full step (forward, backward,
AdamW), a LoRA step (forward, backward), denoising steps, and the scores of four one-token choices.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from benchmarks.likelihood import CONTEXT, choices, our_scores
from benchmarks.parts.command import main
from benchmarks.parts.measure import compare, max_abs_diff
from benchmarks.parts.problems import batch_of, make_task, our_step
from benchmarks.parts.shapes import MASK, Shape, forward_flops, new_adapted_model, new_model
from benchmarks.sampling import BLOCK, ONE, Answers, our_steps
from diffutron.modeling.flops import training_flops
from diffutron.modeling.head import head_logits, run_encoder, unwrap_masked_lm
from diffutron.modeling.vocabulary import Kept, keep_rows
from diffutron.training.trainer import MaskedLoss

SHARE = 0.104  # of mmBERT's entries that 24 000 tokens asked for become
LENGTHS = [256, 256]
STEPS = 8
Both = tuple[Any, Any]


def cases(shape: Shape, repeats: int) -> Iterator[dict]:
    small = replace(shape, vocab_size=round(SHARE * shape.vocab_size))
    both = new_model(shape), cut(new_model(shape), small)
    difference = logits_difference(both, small)
    yield forward_case("greedy_b1", both, small, repeats, difference)
    yield forward_case("choice1_shared4", both, small, repeats, difference)
    yield step_case("full_step", both, small, repeats, difference, update=True)
    del both
    both = new_adapted_model(shape), cut(new_adapted_model(shape), small)
    difference = logits_difference(both, small)
    yield step_case("lora_step", both, small, repeats, difference)


def cut(model: Any, small: Shape) -> nn.Module:
    """The model with the first rows of its vocabulary."""
    ids = [*range(small.vocab_size)]
    keep_rows(unwrap_masked_lm(model), Kept(ids, len(ids), ""))
    return model


@torch.no_grad()
def logits_difference(both: Both, small: Shape) -> float:
    """The largest, over the kept tokens."""
    ids = torch.tensor([Answers(ONE, small).canvases[0]])
    logits = [
        head_logits(model, run_encoder(model, ids)[0], mask_token_id=MASK)[:, MASK + 1 :]
        for model in both
    ]
    return max_abs_diff(logits[0][:, : logits[1].shape[1]], logits[1])


def forward_case(case: str, both: Both, small: Shape, repeats: int, difference: float) -> dict:
    """Eight denoising steps of one answer, or the scores of four choices."""
    if case == "greedy_b1":
        answers = Answers(ONE, small)
        lengths, asked = answers.lengths * STEPS, STEPS * (BLOCK - (STEPS - 1) / 2)
        runs = [
            lambda model=model: our_steps(model, answers, num_steps=STEPS, temperature=0.0)
            for model in both
        ]
    else:
        items = choices(4, 1, small)
        lengths, asked = [CONTEXT + 1], 1
        runs = [lambda model=model: our_scores(model, items) for model in both]
    for run in runs:
        run()
    flops = forward_flops(both[1], lengths=lengths, num_asked=asked)
    found = compare(case, *runs, repeats=repeats)
    return found.row(case, flops=flops, max_abs_diff=difference)


def step_case(
    case: str, both: Both, small: Shape, repeats: int, difference: float, *, update: bool = False
) -> dict:
    """A step on the same batch of two samples; `parameters` of both models."""
    batch = batch_of(make_task(LENGTHS, small, seed=0), packed_length=LENGTHS[0])
    losses = [MaskedLoss(model.train(), mask_token_id=MASK) for model in both]

    def stepper(loss: MaskedLoss) -> Any:
        optimizer = torch.optim.AdamW(loss.parameters(), lr=1e-6, fused=True) if update else None

        def step() -> None:
            our_step(loss, batch)
            if optimizer is not None:
                optimizer.step()
            loss.zero_grad(set_to_none=True)  # its memory is that of the next step

        step()
        return step

    runs = [stepper(loss) for loss in losses]
    flops = training_flops(
        both[1],
        tokens=batch.num_tokens,
        masked=batch.num_masked,
        attended=batch.num_attended(losses[1].window),
    )
    return compare(case, *runs, repeats=repeats).row(
        case,
        flops=flops,
        max_abs_diff=difference,
        tokens=batch.num_tokens,
        masked=batch.num_masked,
        parameters=[sum(weight.numel() for weight in model.parameters()) for model in both],
    )


if __name__ == "__main__":
    main(cases)
