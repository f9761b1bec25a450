"""One training step with LoRA on 2 x 512 tokens: forward and backward."""

from collections.abc import Iterator

import torch

from benchmarks.parts.command import main
from benchmarks.parts.measure import compare, max_abs_diff
from benchmarks.parts.problems import batch_of, gradients, make_task, our_step, padded, plain_step
from benchmarks.parts.shapes import MASK, Shape, new_adapted_model
from diffutron.modeling.flops import training_flops
from diffutron.training.trainer import MaskedLoss

LENGTHS = [512, 512]


def cases(shape: Shape, repeats: int) -> Iterator[dict]:
    yield step_case("train", LENGTHS, shape, repeats, packed_length=512)


def step_case(
    case: str, lengths: list[int], shape: Shape, repeats: int, *, packed_length: int
) -> dict:
    """Both forms on one batch; `max_abs_diff` is over the loss and every gradient.

    `tokens` and `masked` of the batch; `padding_share` of what the plain form computes.
    """
    model, ours = new_adapted_model(shape), new_adapted_model(shape)
    loss = MaskedLoss(ours, mask_token_id=MASK)
    task = make_task(lengths, shape, seed=0)
    theirs, batch = padded(task), batch_of(task, packed_length=packed_length)
    values = torch.tensor([plain_step(model, theirs)])
    expected = torch.cat([values, gradients(model)])
    values = torch.tensor([our_step(loss, batch)])
    difference = max_abs_diff(torch.cat([values, gradients(ours)]), expected)
    largest = float(expected[1:].abs().max())
    del expected
    found = compare(
        case, lambda: plain_step(model, theirs), lambda: our_step(loss, batch), repeats=repeats
    )
    flops = training_flops(
        ours,
        tokens=batch.num_tokens,
        masked=batch.num_masked,
        attended=batch.num_attended(loss.window),
    )
    return found.row(
        case,
        flops=flops,
        max_abs_diff=difference,
        largest_gradient=largest,
        tokens=batch.num_tokens,
        masked=batch.num_masked,
        padding_share=round(1 - batch.num_tokens / theirs.noisy_ids.numel(), 4),
    )


if __name__ == "__main__":
    main(cases)
