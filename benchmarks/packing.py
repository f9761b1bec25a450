"""One training step on rows of unequal length: packed by us, padded to the longest by the plain
form."""

from collections.abc import Iterator

import numpy as np

from benchmarks.parts.command import main
from benchmarks.parts.shapes import Shape
from benchmarks.train_step import step_case

ROWS, MEDIAN, SIGMA, LONGEST, SEED = 8, 90, 0.8, 256, 0


def cases(shape: Shape, repeats: int) -> Iterator[dict]:
    yield step_case("packed", instruction_lengths(), shape, repeats, packed_length=LONGEST)


def instruction_lengths() -> list[int]:
    """Lognormal, as instruction rows are; about the padding of an average draw (0.51)."""
    draws = np.random.default_rng(SEED).lognormal(np.log(MEDIAN), SIGMA, ROWS)
    return np.clip(draws.astype(int), 8, LONGEST).tolist()


if __name__ == "__main__":
    main(cases)
