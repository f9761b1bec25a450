"""What a system says to one question."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffutron.diffusion.likelihood.any_order import Score


@dataclass(frozen=True, slots=True)
class Answer:
    """One value per choice, the highest being the answer; a log-likelihood in nats where the
    system has one.

    stderr: of each value. tokens: scored for each choice (0 for a baseline). exact: no value is
    an estimate. by_length: dividing a value by the length of its choice makes sense.
    """

    logprobs: list[float]
    stderr: list[float]
    tokens: list[int]
    exact: bool
    by_length: bool = True

    @classmethod
    def of_scores(cls, scores: Sequence["Score"]) -> "Answer":
        return cls(
            logprobs=[score.logprob for score in scores],
            stderr=[score.stderr for score in scores],
            tokens=[score.num_tokens for score in scores],
            exact=all(score.exact for score in scores),
        )

    @classmethod
    def of_values(cls, values: Sequence[float], *, by_length: bool = False) -> "Answer":
        """A baseline's answer: values that are exact and belong to no tokens."""
        zeros = [0] * len(values)
        return cls([float(value) for value in values], [0.0] * len(values), zeros, True, by_length)

    @classmethod
    def of_choice(cls, chosen: int, num_choices: int) -> "Answer":
        return cls.of_values([float(number == chosen) - 1 for number in range(num_choices)])
