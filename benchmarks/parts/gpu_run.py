"""What the parts of `benchmarks.gpu` share: the run, and the batches and trainings it is about."""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.parts.problems import batch_of, make_task
from benchmarks.parts.shapes import BOS, MASK, PAD, SHAPES, Shape, random_ids
from diffutron.config.params import load_params
from diffutron.data.token_store import Samples
from diffutron.diffusion.likelihood.any_order import score_continuations
from diffutron.modeling.head import logprob_fn
from diffutron.training.batches import GlobalBatch, Layout, MicroBatch, TrainingSet, training_batch
from diffutron.training.checkpoint import ROOT, Checkpoints
from diffutron.training.trainer import Trainer

HALF = torch.bfloat16
NANO = Shape(1000, 64, 4, 4, 96, 8)  # of a dry run
SMALL = Shape(2000, 128, 6, 4, 192, 16)  # of the parities
MEDIUM = SHAPES["middle"]  # of the short training


@dataclass
class Run:
    """What the parts share, and what they have found so far.

    partial: what the part at work has found, kept if it fails.
    """

    device: torch.device
    tiny: bool
    deadline: float
    out: Path
    corpus: Path | None = None
    scratch: Path = Path()
    found: dict[str, dict[str, Any]] = field(default_factory=dict)
    partial: dict[str, Any] = field(default_factory=dict)

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def shape(self) -> Shape:
        return NANO if self.tiny else SHAPES["307m"]

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights in a training."""
        return HALF if self.on_gpu else torch.float32

    def wait(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize()

    def mfu(self, flops: float, milliseconds: float) -> float | None:
        peak = self.found.get("environment", {}).get("peak_flops")
        return None if peak is None else round(flops / milliseconds * 1e3 / peak, 4)

    def timed(self, step: Callable[[], object], *, warm: int = 2, repeats: int = 5) -> dict:
        """Milliseconds (median and best), and GiB above what was held before."""
        for _ in range(warm):
            step()
        self.wait()
        held = 0
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats()
            held = torch.cuda.memory_allocated()
        taken = []
        for _ in range(repeats):
            started = time.perf_counter()
            step()
            self.wait()
            taken.append(1e3 * (time.perf_counter() - started))
        found = {"ms": round(statistics.median(taken), 3), "best_ms": round(min(taken), 3)}
        if self.on_gpu:
            found["peak_gib"] = round((torch.cuda.max_memory_allocated() - held) / 2**30, 3)
        return found


def scores(model: nn.Module, device: torch.device, *, choices: int, shape: Shape) -> list[Any]:
    """Continuations of one to three tokens, four of each context."""
    items = []
    for number in range(choices):
        context = [BOS, *random_ids(40, shape=shape, seed=number // 4).tolist()]
        items.append((context, random_ids(1 + number % 3, shape=shape, seed=number).tolist()))
    return score_continuations(
        logprob_fn(model, mask_token_id=MASK),
        items,
        mask_token_id=MASK,
        pad_token_id=PAD,
        max_rows=32,
        batch_rows=256,
        device=device,
    )


def lengths(tokens: int, *, mean: int = 224, longest: int = 512) -> list[int]:
    """Lengths of documents, lognormal as those of web text are, of so many tokens together."""
    drawn = np.random.default_rng(0).lognormal(np.log(mean) - 0.3, 0.75, 4 * tokens // mean + 8)
    lengths = np.clip(drawn.astype(int), 8, longest)
    return lengths[: max(1, int((np.cumsum(lengths) <= tokens).sum()))].tolist()


def document_batch(shape: Shape, tokens: int) -> GlobalBatch:
    return batch_of(make_task(lengths(tokens), shape, seed=5), packed_length=512)


def whole_batch(shape: Shape, tokens: int) -> tuple[MicroBatch, GlobalBatch]:
    """All samples of a batch in one micro-batch."""
    task = make_task(lengths(tokens), shape, seed=5)
    layout = Layout(512, 1_000_000, 0, 1)
    batch = training_batch(task, 0, batch_size=len(task.samples), layout=layout)
    return batch.micro_batches[0], batch


def new_trainer(
    run: Run,
    name: str,
    model: nn.Module,
    task: TrainingSet,
    heldout: Samples,
    changes: dict[str, Any],
    ranks: Any,
) -> Trainer:
    os.environ[ROOT] = str(run.scratch / "checkpoints")
    params = load_params().pretrain.training.model_copy(update=changes)
    checkpoints = Checkpoints(name, ranks, zero_stage=params.zero_stage)
    return Trainer(
        model, task, task.heldout(heldout), params, ranks, name=name, checkpoints=checkpoints
    )
