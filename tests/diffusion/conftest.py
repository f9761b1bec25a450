"""A model small enough to enumerate: a table of logits over a vocabulary of a few tokens."""

import itertools
import math
from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor


class Table:
    """Fixed random logits for every (visible canvas, position): any conditional, consistent or not.

    Vocabulary 0..V-1, the mask token is V - 1. Counts its rows and calls. `logits_fn` and
    `logprob_fn` have the signatures that sampling and likelihood ask for.
    """

    def __init__(self, vocab: int = 4, *, seed: int = 0, sharp: float = 1.5) -> None:
        self.vocab, self.mask, self.seed, self.sharp = vocab, vocab - 1, seed, sharp
        self.rows = self.calls = 0
        self.decided: list[int] = []
        self.known: dict[tuple, Tensor] = {}

    def logits(self, row: Sequence[int], position: int) -> Tensor:
        """Logits [V] at a position of an unpadded row, the mask token's as high as any other."""
        key = (tuple(row), position)
        if key not in self.known:
            number = self.seed
            for value in (*row, position):
                number = (number * 1_000_003 + value + 7) % 2**61
            generator = torch.Generator().manual_seed(number)
            self.known[key] = self.sharp * torch.randn(
                self.vocab, generator=generator, dtype=torch.float64
            )
        return self.known[key]

    def probs(self, row: Sequence[int], position: int) -> Tensor:
        """The distribution at a position, without the mask token."""
        logits = self.logits(row, position).clone()
        logits[self.mask] = -math.inf
        return logits.softmax(0)

    def logits_fn(self, ids: Tensor, attention_mask: Tensor | None, positions: Tensor) -> Tensor:
        rows = list(self._rows(ids, attention_mask))
        asked = positions.nonzero().tolist()
        self.decided.append(len(asked))
        if not asked:
            return torch.zeros(0, self.vocab, dtype=torch.float64)
        return torch.stack([self.logits(rows[r], c) for r, c in asked])

    def logprob_fn(
        self,
        ids: Tensor,
        attention_mask: Tensor | None,
        rows: Tensor,
        cols: Tensor,
        targets: Tensor,
    ) -> Tensor:
        visible = list(self._rows(ids, attention_mask))
        asked = zip(rows.tolist(), cols.tolist(), targets.tolist(), strict=True)
        return torch.stack([self.probs(visible[r], c)[t].log() for r, c, t in asked])

    def _rows(self, ids: Tensor, attention_mask: Tensor | None) -> Iterator[list[int]]:
        self.calls += 1
        self.rows += len(ids)
        for number, row in enumerate(ids):
            yield (row if attention_mask is None else row[attention_mask[number]]).tolist()

    def bound(self, context: Sequence[int], x: Sequence[int], ending: Sequence[int] = ()) -> float:
        """The any-order bound of `x`, written from the equation; `ending` is given."""
        total = 0.0
        for k in range(1, len(x) + 1):
            sums = []
            for masked in itertools.combinations(range(len(x)), k):
                noisy = (self.mask if i in masked else v for i, v in enumerate(x))
                row = [*context, *noisy, *ending]
                sums.append(
                    sum(float(self.probs(row, len(context) + i)[x[i]].log()) for i in masked)
                )
            total += sum(sums) / len(sums) / k
        return total


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture(scope="session")
def make_table() -> type[Table]:
    return Table
