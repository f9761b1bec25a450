"""The canvases of all rows that are denoised together, and how far each has come.

Shapes: B rows in all, R those of a step, L the longest canvas.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, cast

import torch
from torch import Tensor

from diffutron.diffusion.sampling.settings import Settings


class Event(NamedTuple):
    """A token committed at a position in a step (counted from 0 for each row), with its confidence.

    A token put back by remasking is an event with the mask token and confidence 0.
    """

    step: int
    position: int
    token: int
    confidence: float


@dataclass(slots=True)
class Denoised:
    """token_ids: what was filled in, in order, up to the end policy's cut. canvas: the whole row
    up to it.

    ended: whether the end policy cut the row. num_steps: model passes. events: the trace, if
    asked for.
    """

    token_ids: list[int] = field(default_factory=list[int])
    canvas: list[int] = field(default_factory=list[int])
    ended: bool = False
    num_steps: int = 0
    events: list[Event] = field(default_factory=list[Event])


class Canvases:
    """The canvases of all rows and how far each has come."""

    def __init__(
        self,
        canvases: Sequence[Sequence[int]],
        mask_token_id: int,
        pad_token_id: int,
        settings: Settings,
        device: torch.device | str,
    ) -> None:
        self.mask_token_id = mask_token_id
        rows = [torch.tensor(list(canvas), dtype=torch.int64, device=device) for canvas in canvases]
        self.length = torch.tensor([len(row) for row in rows], device=device)
        self.ids = (
            torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad_token_id)
            if rows
            else torch.zeros(0, 0, dtype=torch.int64, device=device)
        )
        self.place = torch.arange(self.ids.shape[1], device=device)
        real = self.place < self.length[:, None]
        self.fillable = (self.ids == mask_token_id) & real
        rank = self.fillable.cumsum(dim=1) - 1
        size = settings.block_length or max(1, self.ids.shape[1])
        self.last_block = int(torch.iinfo(torch.int64).max)
        self.block = torch.where(self.fillable, rank // size, self.last_block)
        num_blocks = (self.fillable.sum(dim=1) + size - 1) // size
        if bool((num_blocks > settings.num_steps).any()):
            raise ValueError(
                f"num_steps={settings.num_steps} must be at least one for each of the "
                f"{int(num_blocks.max())} blocks of {size}"
            )
        self.steps_each = settings.num_steps // num_blocks.clamp_min(1)
        self.steps_extra = settings.num_steps % num_blocks.clamp_min(1)
        self.end = self.length.clone()
        self.step = torch.zeros_like(self.length)
        self.current = torch.full_like(self.length, -1)
        self.steps_left = torch.zeros_like(self.length)
        self.alive = torch.ones_like(self.length, dtype=torch.bool)
        self.advance(torch.arange(len(rows), device=device))

    def open(self, rows: Tensor) -> Tensor:
        """Positions still to be filled, bool [R, L]."""
        masked = (self.ids[rows] == self.mask_token_id) & self.fillable[rows]
        return masked & (self.place < self.end[rows, None])

    def advance(self, rows: Tensor) -> None:
        """Moves rows to their first unfinished block and retires those without one."""
        if not self.ids.numel():
            self.alive[rows] = False
            return
        block = torch.where(self.open(rows), self.block[rows], self.last_block).amin(dim=1)
        fresh = self.steps_each[rows] + (block < self.steps_extra[rows])
        self.steps_left[rows] = torch.where(
            block == self.current[rows], self.steps_left[rows].clamp_min(1), fresh
        )
        self.current[rows] = block
        self.alive[rows] &= block != self.last_block

    def prefix(self, row: int) -> list[int]:
        """What has been filled in before the first gap."""
        gaps = self.open(torch.tensor([row], device=self.ids.device))[0].nonzero().flatten()
        stop = gaps[0] if len(gaps) else self.end[row]
        return _ints(self.ids[row, :stop][self.fillable[row, :stop]])

    def cut(self, row: int, num_kept: int | None) -> None:
        """Ends a row after `num_kept` filled tokens."""
        if num_kept is not None:
            places = self.fillable[row].nonzero().flatten()
            if num_kept < len(places):
                self.end[row] = places[num_kept]
            self.alive[row] = False

    def result(self, row: int) -> tuple[list[int], list[int], bool]:
        end = self.end[row]
        canvas = self.ids[row, :end]
        filled = canvas[self.fillable[row, :end]]
        return _ints(filled), _ints(canvas), bool(end < self.length[row])


def _ints(values: Tensor) -> list[int]:
    return cast(list[int], values.tolist())  # pyright: ignore[reportUnknownMemberType]
