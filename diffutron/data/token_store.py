"""Token ids on disk, as the trainings read them: documents of a corpus, rows of an instruction set.

Shapes: S samples, T tokens of all samples.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

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


def read_instructions(folder: Path, phase: int, split: str, *, max_tokens: int) -> Samples:
    """Rows of the stage `instructions`; only the answer may be masked."""
    import pyarrow.parquet as pq

    require_folder(folder, made_by="instructions")
    file = folder / f"phase{phase}_{split}.parquet"
    try:
        table = pq.read_table(file, columns=["input_ids", "answer_start", "answer_end"])
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{file}: not readable ({error}); run the stage `instructions`") from None
    rows = table["input_ids"].combine_chunks()
    ids = rows.flatten().to_numpy()
    length = rows.value_lengths().to_numpy().astype(np.int64)
    if not len(length):
        raise UserError(f"{file} has no rows; check the sources of `instructions`")
    if length.max() > max_tokens:
        raise UserError(
            f"{file}: a row has {length.max()} tokens and the model takes {max_tokens}; "
            "lower instructions.max_tokens"
        )
    stop = table["answer_end"].to_numpy().astype(np.int64)
    if (stop != length).any():
        raise UserError(f"{file}: an answer must be the last part of its row; run `instructions`")
    return Samples(
        ids=ids,
        start=np.cumsum(length) - length,
        length=length,
        maskable_start=table["answer_start"].to_numpy().astype(np.int64),
        maskable_stop=stop,
    )
