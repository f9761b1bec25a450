"""Samples of unequal length, packed into rows without padding between them.

A packed row holds several samples side by side. Each sample sees itself alone (block-diagonal
attention, for the full and for the sliding layers) and has its own positions, so losses and
gradients equal those of the padded batch, at the cost of the real tokens.

Shapes: S samples, T tokens of all samples, R rows, W width of the widest row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from diffutron.runtime.errors import UserError
from diffutron.runtime.files import require_folder


@dataclass(frozen=True)
class Samples:
    """Token ids of S samples, one after the other, and the part of each that may be masked."""

    ids: np.ndarray  # [T], may be memory-mapped
    start: np.ndarray  # [S], first token of a sample in `ids`
    length: np.ndarray  # [S]
    maskable_start: np.ndarray  # [S], within the sample
    maskable_stop: np.ndarray  # [S], exclusive
    num_cut: int = 0  # samples that are longer than the model and became several

    def __len__(self) -> int:
        return len(self.start)

    def tokens(self, index: int) -> np.ndarray:
        first = int(self.start[index])
        return self.ids[first : first + int(self.length[index])]

    def first(self, number: int) -> Self:
        """The first samples, for an evaluation of bounded size."""
        part = slice(0, number)
        return type(self)(
            self.ids,
            self.start[part],
            self.length[part],
            self.maskable_start[part],
            self.maskable_stop[part],
        )


def read_documents(folder: Path, split: str, *, max_tokens: int) -> Samples:
    """Documents of the stage `corpus`: every token but the begin token may be masked.

    A document of more than `max_tokens` becomes several windows, so that no token is lost.
    """
    require_folder(folder, made_by="corpus")
    try:
        ids = np.load(folder / f"{split}_ids.npy", mmap_mode="r")
        bounds = np.load(folder / f"{split}_bounds.npy")
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot read the {split} split of {folder} ({error}); run `diffutron corpus` again"
        ) from None
    if len(bounds) < 2:
        raise UserError(f"the {split} split of {folder} is empty; check the sources of `corpus`")
    if bounds[0] != 0 or bounds[-1] != len(ids) or (np.diff(bounds) < 2).any():
        raise UserError(f"{folder}/{split}_bounds.npy does not fit its ids; run `diffutron corpus`")
    return windows(ids, bounds, max_tokens=max_tokens)


def windows(ids: np.ndarray, bounds: np.ndarray, *, max_tokens: int) -> Samples:
    """Samples of at most `max_tokens` from documents; the begin token is never masked."""
    length = np.diff(bounds)
    pieces = -(-length // max_tokens)
    document = np.repeat(np.arange(len(length)), pieces)
    first_piece = np.cumsum(pieces) - pieces
    place = np.arange(len(document)) - first_piece[document]  # 0 for the head of a document
    start = bounds[:-1][document] + place * max_tokens
    size = np.minimum(max_tokens, bounds[1:][document] - start)
    return Samples(
        ids=ids,
        start=start,
        length=size,
        maskable_start=(place == 0).astype(np.int64),
        maskable_stop=size,
        num_cut=int((pieces > 1).sum()),
    )


def first_fit(lengths: Sequence[int], *, packed_length: int) -> list[list[int]]:
    """Rows of indices whose lengths add up to at most `packed_length`, filled in the order given.

    A sample longer than `packed_length` has a row to itself.
    """
    rows: list[list[int]] = []
    room: list[int] = []
    oldest = 0  # rows before it are full
    for index, length in enumerate(lengths):
        for row in range(oldest, len(rows)):
            if room[row] >= length:
                break
        else:
            row = len(rows)
            rows.append([])
            room.append(packed_length)
        rows[row].append(index)
        room[row] -= length
        while oldest < len(rows) and room[oldest] <= 0:
            oldest += 1
    return rows


@dataclass(frozen=True)
class PackedRows:
    """Samples side by side: their ids, positions, and which positions belong together."""

    ids: Tensor  # int64 [R, W]
    position: Tensor  # int64 [R, W], from 0 in each sample
    segment: Tensor  # int32 [R, W], number of the sample in the row; -1 at the end of a row
    offset: Tensor  # int64 [S], where a sample starts in the flattened [R * W]


def pack_rows(
    samples: Sequence[np.ndarray], rows: Sequence[Sequence[int]], *, pad_token_id: int
) -> PackedRows:
    """Lay samples out in rows; `rows` holds indices into `samples`, as `first_fit` returns them."""
    width = max((sum(len(samples[i]) for i in row) for row in rows), default=1)
    ids = np.full((len(rows), width), pad_token_id, dtype=np.int64)
    position = np.zeros_like(ids)
    segment = np.full(ids.shape, -1, dtype=np.int32)
    offset = np.zeros(len(samples), dtype=np.int64)
    for r, row in enumerate(rows):
        at = 0
        for number, index in enumerate(row):
            end = at + len(samples[index])
            ids[r, at:end] = samples[index]
            position[r, at:end] = np.arange(end - at)
            segment[r, at:end] = number
            offset[index] = r * width + at
            at = end
    return PackedRows(*map(torch.from_numpy, (ids, position, segment, offset)))


def attention_masks(segment: Tensor, *, window: int) -> dict[str, Tensor]:
    """Bool masks [R, 1, W, W] for both ModernBERT layer kinds, True where a position may attend.

    window: the largest distance in a sliding layer (`config.sliding_window`). Padding attends to
    padding, as a row of a softmax may not be empty.
    """
    together = segment[:, None, :, None] == segment[:, None, None, :]
    place = torch.arange(segment.shape[1], device=segment.device)
    near = (place[:, None] - place[None, :]).abs() <= window
    return {"full_attention": together, "sliding_attention": together & near}
