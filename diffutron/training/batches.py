"""From a step's number to its micro-batches: a pure function of seed, step, rank and world size.

The order of an epoch, the times, the masks and the end fill are hashes of (seed, epoch, sample),
so a resumed run sees what an uninterrupted one sees, at any number of ranks.

Shapes: B samples of the global batch, R rows of a micro-batch, W their width, M masked tokens.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from diffutron.config.training_params import TrainingParams
from diffutron.data.token_store import Samples
from diffutron.diffusion.process.loss import Objective
from diffutron.diffusion.process.noise import hash_keys, uniform
from diffutron.modeling.packing import first_fit, pack_rows

_ORDER, _FILL = 11, 12  # streams of random numbers; those of the diffusion core are below 10
ROUND_WIDTH, ROUND_MASKED = 64, 128  # tokens, of a batch whose products are compiled by shape
FIXED_EPOCH = 2**31  # of evaluation: its draws are the same each time


@dataclass(frozen=True)
class EosFill:
    """Up to `longest` further end tokens after a sample; learned with `weight`, never padding."""

    token_id: int
    longest: int
    weight: float


@dataclass(frozen=True)
class TrainingSet:
    """Samples and what is learned from them.

    normalize: the loss is a mean over all tokens of a global batch, or over the samples' own means.
    replay: what each batch repeats of an earlier training set.
    """

    samples: Samples
    objective: Objective
    seed: int
    mask_token_id: int
    pad_token_id: int
    eos_fill: EosFill | None = None
    max_tokens: int = 2**31
    normalize: Literal["token", "answer"] = "token"
    replay: "Replay | None" = None

    def heldout(self, samples: Samples) -> Self:
        """What is measured on samples that are not learned from: the loss over all mask rates."""
        objective = self.objective.evaluated
        return replace(self, samples=samples, objective=objective, replay=None)


@dataclass(frozen=True)
class Replay:
    """Samples of another set in every batch; `weight` times their own loss is added to it."""

    data: TrainingSet
    samples: int
    weight: float


@dataclass(frozen=True)
class Layout:
    """How a global batch is divided: rows of tokens, micro-batches of rows, ranks."""

    packed_length: int
    micro_batch_rows: int
    rank: int
    world_size: int


@dataclass(frozen=True)
class MicroBatch:
    """What one forward pass needs; `weights` are not yet divided by the normalizer.

    bounds, longest: where the samples begin, int32 [S + 1], and the length of the longest one, if
    they stand in one row without padding, as a GPU's kernel wants them.
    """

    noisy_ids: Tensor  # [R, W]
    position_ids: Tensor  # [R, W]
    segment: Tensor  # [R, W]
    masked_at: Tensor  # [M], places in the flattened [R * W]
    targets: Tensor  # [M]
    weights: Tensor  # float32 [M]
    normalizer: float
    bounds: Tensor | None = None
    longest: int = 0

    def to(self, device: torch.device) -> Self:
        """As the device wants it. The copies are under way when this returns."""
        if device.type == "cpu":
            return self
        row = self.unpadded()  # cuda only
        moved = {  # cuda only
            name: value.pin_memory().to(device, non_blocking=True)
            for name, value in vars(row).items()
            if torch.is_tensor(value)
        }
        return replace(row, **moved)  # cuda only

    def rounded(self, dtype: torch.dtype) -> Self:
        """For bf16 on a CPU, where products are compiled for each new shape: the same samples in
        rows of few widths, and masked tokens without weight behind the others. Else as it is.
        """
        if self.noisy_ids.device.type != "cpu" or dtype != torch.bfloat16:
            return self
        width = self.noisy_ids.shape[1]
        wider = -width % ROUND_WIDTH
        more = -len(self.targets) % ROUND_MASKED
        row, column = self.masked_at // width, self.masked_at % width
        return replace(
            self,
            noisy_ids=pad(self.noisy_ids, (0, wider)),
            position_ids=pad(self.position_ids, (0, wider)),
            segment=pad(self.segment, (0, wider), value=-1),
            masked_at=pad(row * (width + wider) + column, (0, more)),
            targets=pad(self.targets, (0, more)),
            weights=pad(self.weights, (0, more)),
        )

    def unpadded(self) -> Self:
        """The same samples as one row of their real tokens."""
        real = self.segment.flatten() >= 0
        position = self.position_ids.flatten()[real]
        starts = (position == 0).nonzero().flatten()
        ends = starts.new_tensor([len(position)])
        return replace(
            self,
            noisy_ids=self.noisy_ids.flatten()[real][None],
            position_ids=position[None],
            segment=self.segment.flatten()[real][None],
            masked_at=(real.cumsum(0) - 1)[self.masked_at],
            bounds=torch.cat([starts, ends]).to(torch.int32),
            longest=int(position.max()) + 1,
        )


@dataclass(frozen=True)
class GlobalBatch:
    """This rank's micro-batches of a step, and the size of the whole of it."""

    micro_batches: list[MicroBatch]
    normalizer: float
    lengths: np.ndarray  # [B], of all ranks

    @property
    def num_tokens(self) -> int:
        """Real tokens of all ranks."""
        return int(self.lengths.sum())

    @property
    def num_masked(self) -> int:
        """Masked tokens of this rank."""
        return sum(int(torch.count_nonzero(micro.weights)) for micro in self.micro_batches)

    def num_attended(self, window: int) -> tuple[int, int]:
        """Pairs of positions that see each other in a full and in a sliding layer, about."""
        near = np.minimum(self.lengths, 2 * window + 1)
        return int((self.lengths**2).sum()), int((self.lengths * near).sum())


def steps_per_epoch(num_samples: int, batch_size: int) -> int:
    return -(-num_samples // batch_size)


def number_of_steps(params: TrainingParams, num_samples: int) -> int:
    """The steps asked for, or those of the epochs asked for."""
    if params.steps is not None:
        return params.steps
    assert params.epochs is not None
    return max(1, round(params.epochs * steps_per_epoch(num_samples, params.batch_size)))


def training_batch(data: TrainingSet, step: int, *, batch_size: int, layout: Layout) -> GlobalBatch:
    """The global batch of a step, counted from 0; an epoch ends with a shorter one if need be."""
    num_samples = len(data.samples)
    epoch, place = divmod(step, steps_per_epoch(num_samples, batch_size))
    first = place * batch_size
    position = torch.arange(first, min(first + batch_size, num_samples))
    index = epoch_order(num_samples, data.seed, epoch)[position]
    batch = global_batch(data, index, position, epoch=epoch, layout=layout)
    return with_replay(batch, data.replay, step, layout) if data.replay else batch


def with_replay(batch: GlobalBatch, replay: Replay, step: int, layout: Layout) -> GlobalBatch:
    """The batch and the samples that are replayed with it, whose own mean loss is added to its."""
    other = training_batch(replay.data, step, batch_size=replay.samples, layout=layout)
    normalizer = other.normalizer / replay.weight
    micro_batches = [replace(micro, normalizer=normalizer) for micro in other.micro_batches]
    lengths = np.concatenate([batch.lengths, other.lengths])
    return GlobalBatch(batch.micro_batches + micro_batches, batch.normalizer, lengths)


def evaluation_batches(data: TrainingSet, *, batch_size: int, layout: Layout) -> list[GlobalBatch]:
    """All samples in their order with draws that never change."""
    batches = []
    for first in range(0, len(data.samples), batch_size):
        position = torch.arange(first, min(first + batch_size, len(data.samples)))
        batches.append(global_batch(data, position, position, epoch=FIXED_EPOCH, layout=layout))
    return batches


def batches_ahead(
    make: Callable[[int], GlobalBatch], steps: Sequence[int], *, thread: bool
) -> Iterator[GlobalBatch]:
    """The batches of these steps in order; with a thread the next one is made in the meantime.

    A batch depends on the number of its step alone, so nothing changes but the time.
    """
    if not thread or not steps:
        yield from map(make, steps)
        return
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(make, steps[0])
        for later in [*steps[1:], None]:
            batch = coming.result()
            if later is not None:
                coming = pool.submit(make, later)
            yield batch


@lru_cache(maxsize=4)  # two epochs, of the set and of what it replays
def epoch_order(num_samples: int, seed: int, epoch: int) -> Tensor:
    """The seeded order of an epoch, int64 [num_samples]."""
    return hash_keys(seed, epoch, _ORDER, torch.arange(num_samples)).argsort(stable=True)


def global_batch(
    data: TrainingSet, index: Tensor, position: Tensor, *, epoch: int, layout: Layout
) -> GlobalBatch:
    """Noise and rows for samples `index` at places `position` of the epoch's order, both [B]."""
    chosen = index.numpy()
    maskable = data.samples.maskable_stop[chosen] - data.samples.maskable_start[chosen]
    fill = fill_lengths(data, index, epoch)
    lengths = data.samples.length[chosen] + fill
    fill_weight = data.eos_fill.weight if data.eos_fill else 0.0
    counted, share = maskable + fill * fill_weight, np.ones(len(index))
    if data.normalize == "answer":
        counted, share = share, 1 / counted
    normalizer = float(counted.sum())
    batch = _Samples(data, index, position, epoch, fill, maskable, share)
    rows = first_fit(lengths.tolist(), packed_length=layout.packed_length)
    micro_batches = []
    for part in divide(rows, lengths, layout):
        micro = batch.micro_batch(part or [[0]], normalizer)
        if not part:  # a pass without effect, as another rank has more micro-batches
            micro = replace(micro, weights=torch.zeros_like(micro.weights))
        micro_batches.append(micro)
    return GlobalBatch(micro_batches, normalizer, lengths)


def divide(rows: list[list[int]], lengths: np.ndarray, layout: Layout) -> list[list[list[int]]]:
    """Rows of this rank's micro-batches, as many as those of the busiest rank; some may be empty.

    Rows of like width stand together, and a wide one brings fewer neighbors, so that padding
    stays small and a micro-batch within `micro_batch_rows` x `packed_length` tokens.
    """
    used = [int(lengths[row].sum()) for row in rows]
    order = sorted(range(len(rows)), key=lambda row: -used[row])
    parts: list[list[list[list[int]]]] = []
    for rank in range(layout.world_size):
        mine = order[rank :: layout.world_size]
        parts.append([])
        while mine:
            fitting = layout.micro_batch_rows * layout.packed_length // used[mine[0]]
            number = min(layout.micro_batch_rows, max(1, fitting))
            parts[-1].append([rows[row] for row in mine[:number]])
            mine = mine[number:]
    own = parts[layout.rank]
    return own + [[]] * (max(map(len, parts)) - len(own))


def fill_lengths(data: TrainingSet, index: Tensor, epoch: int) -> np.ndarray:
    """Number of end tokens that follow each sample, int64 [B]: uniform in 0 .. longest, keyed by
    the sample, and within the model's length.
    """
    if data.eos_fill is None or data.eos_fill.longest == 0:
        return np.zeros(len(index), dtype=np.int64)
    draw = uniform(data.seed, epoch, _FILL, index).numpy()
    room = np.maximum(0, data.max_tokens - data.samples.length[index.numpy()])
    return np.minimum((draw * (data.eos_fill.longest + 1)).astype(np.int64), room)


@dataclass(frozen=True)
class _Samples:
    """The samples of a global batch; micro-batches are made of some of them."""

    data: TrainingSet
    index: Tensor  # [B]
    position: Tensor  # [B]
    epoch: int
    fill: np.ndarray  # [B], end tokens after each
    maskable: np.ndarray  # [B], maskable tokens of each, without the fill
    share: np.ndarray  # [B], of the weights of each

    def micro_batch(self, rows: Sequence[Sequence[int]], normalizer: float) -> MicroBatch:
        """Noisy rows of the samples at these places of the batch, and what is learned from them."""
        data, chosen = self.data, [i for row in rows for i in row]
        place_of = {sample: place for place, sample in enumerate(chosen)}
        packed = pack_rows(
            [self._tokens(i) for i in chosen],
            [[place_of[i] for i in row] for row in rows],
            pad_token_id=data.pad_token_id,
        )
        masked, weight = data.objective.draw_masks(
            self.position[chosen],
            (self.maskable + self.fill)[chosen].tolist(),
            seed=data.seed,
            epoch=self.epoch,
            index=self.index[chosen],
        )
        starts = packed.offset + torch.from_numpy(
            data.samples.maskable_start[self.index[chosen].numpy()]
        )
        places = [mask.nonzero().squeeze(1) for mask in masked]
        within = torch.cat(places)  # [M], counted from a sample's first maskable token
        counts = torch.tensor([len(place) for place in places])
        owner = torch.repeat_interleave(torch.arange(len(chosen)), counts)  # [M]
        weight = (weight * torch.from_numpy(self.share[chosen]))[owner]
        if data.eos_fill is not None:
            is_fill = within >= torch.from_numpy(self.maskable[chosen])[owner]
            weight = weight * torch.where(is_fill, data.eos_fill.weight, 1.0).double()
        masked_at = starts[owner] + within
        noisy_ids = packed.ids.clone()
        noisy_ids.view(-1)[masked_at] = data.mask_token_id
        return MicroBatch(
            noisy_ids=noisy_ids,
            position_ids=packed.position,
            segment=packed.segment,
            masked_at=masked_at,
            targets=packed.ids.view(-1)[masked_at],
            weights=weight.float(),
            normalizer=normalizer,
        )

    def _tokens(self, i: int) -> np.ndarray:
        tokens = self.data.samples.tokens(int(self.index[i]))
        if not self.fill[i]:
            return tokens
        assert self.data.eos_fill is not None
        end = np.full(self.fill[i], self.data.eos_fill.token_id, dtype=tokens.dtype)
        return np.concatenate([tokens, end])
