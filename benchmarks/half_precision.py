"""One training step of all weights, forward and backward: in bf16 against float32, both ours.

bf16 is faster only on a processor with instructions for it (`training.precision: fastest`).
"""

from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.parts.command import main
from benchmarks.parts.measure import compare
from benchmarks.parts.problems import batch_of, make_task, our_step
from benchmarks.parts.shapes import MASK, Shape, new_model
from diffutron.modeling.flops import training_flops
from diffutron.runtime.provenance import multiplies_bf16
from diffutron.training.trainer import MaskedLoss

SAMPLES, MEDIAN, SIGMA, LONGEST, SEED = 16, 90, 0.8, 256, 0


def cases(shape: Shape, repeats: int) -> Iterator[dict]:
    """`loss_difference` is relative; `instructions` says whether the processor has them."""
    draws = np.random.default_rng(SEED).lognormal(np.log(MEDIAN), SIGMA, SAMPLES)
    lengths = np.clip(draws.astype(int), 8, LONGEST).tolist()
    batch = batch_of(make_task(lengths, shape, seed=SEED), packed_length=LONGEST)
    exact, half = (
        MaskedLoss(new_model(shape).to(dtype).train(), mask_token_id=MASK)
        for dtype in (torch.float32, torch.bfloat16)
    )
    losses = our_step(exact, batch), our_step(half, batch)
    found = compare(
        "bf16", lambda: our_step(exact, batch), lambda: our_step(half, batch), repeats=repeats
    )
    flops = training_flops(
        half.model,
        tokens=batch.num_tokens,
        masked=batch.num_masked,
        attended=batch.num_attended(half.window),
    )
    yield found.row(
        "bf16",
        flops=flops,
        max_abs_diff=abs(losses[1] - losses[0]),
        tokens=batch.num_tokens,
        masked=batch.num_masked,
        loss_difference=abs(losses[1] / losses[0] - 1),
        instructions=multiplies_bf16(),
    )


if __name__ == "__main__":
    main(cases)
