"""The one training loop: micro-batches to gradients, steps, evaluations and checkpoints.

What a step does depends on its number alone, so a resumed run repeats nothing and skips nothing.
"""

import math
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from diffutron.config.params import TrainingParams
from diffutron.diffusion.process.noise import hash_keys
from diffutron.modeling.head import masked_lm
from diffutron.runtime.errors import StageFailure
from diffutron.runtime.progress import Progress
from diffutron.training.batches import (
    GlobalBatch,
    Layout,
    Task,
    evaluation_batches,
    steps_per_epoch,
    training_batch,
)
from diffutron.training.checkpoint import Checkpoints
from diffutron.training.ema import MovingAverage
from diffutron.training.engine import MaskedLoss, settle, start_engine
from diffutron.training.optimizer import learning_rate
from diffutron.training.ranks import Ranks

CHECK_EVERY = 10  # steps between two looks at the losses: each look is a collective call
CURVE_POINTS = 500
_DROPOUT = 13  # stream of random numbers


@dataclass
class Progressed:
    """What a checkpoint keeps beside the weights; losses in nats as the objective weighs them."""

    tokens: int = 0
    masked: int = 0
    attended: list[int] = field(default_factory=lambda: [0, 0])
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)  # of the steps since the last point
    curve: list[dict[str, float | int | None]] = field(default_factory=list)
    eval_loss_before: float | None = None
    eval_loss: float | None = None


class Training:
    """A task, the engine that learns it, and where it stands."""

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        heldout: Task,
        params: TrainingParams,
        ranks: Ranks,
        *,
        name: str,
        checkpoints: Checkpoints,
    ) -> None:
        self.task, self.heldout, self.params, self.ranks = task, heldout, params, ranks
        self.model, self.name, self.checkpoints = model, name, checkpoints
        self.layout = Layout(
            params.packed_length, params.micro_batch_rows, ranks.rank, ranks.world_size
        )
        self.steps = number_of_steps(params, len(task.samples))
        self.state = Progressed()
        self._pending: list[torch.Tensor] = []  # [loss, masked] of steps not yet looked at
        self.resumed_from: int | None = None
        self.average: MovingAverage | None = None
        self.engine = self._start()

    def _start(self) -> Any:
        newest = self.checkpoints.newest()
        if newest:
            self.checkpoints.prepare(newest)
        if self.params.gradient_checkpointing:
            masked_lm(self.model).gradient_checkpointing_enable({"use_reentrant": False})
        loss = MaskedLoss(self.model, mask_token_id=self.task.mask_token_id)
        universal = newest is not None and self.checkpoints.converts(newest)
        engine = start_engine(loss, self.params, self.ranks, universal=universal)
        if newest:
            self.checkpoints.load(engine, newest)
        if self.params.ema_decay is not None:
            self.average = MovingAverage(engine.module, self.params.ema_decay, self.ranks)
        if newest:
            if self.average:
                self.average.load(newest.folder)
            self.state = Progressed(**newest.state)
            self.resumed_from = newest.step
            if self.ranks.is_first:
                print(f"{self.name}: resumed at step {newest.step} of {self.steps}", flush=True)
        return engine

    @property
    def epochs(self) -> float:
        """Passes over the samples that the steps make."""
        return self.steps / steps_per_epoch(len(self.task.samples), self.params.batch_size)

    def run(self) -> None:
        """All steps that are left."""
        first = self.resumed_from or 0
        if first == 0:
            self.state.eval_loss_before = self.evaluate()
        with Progress(
            total=self.steps,
            desc=self.name,
            unit="step",
            initial=first,
            enabled=self.ranks.is_first,
        ) as bar:
            for done in range(first + 1, self.steps + 1):
                started = time.perf_counter()
                self._step(done - 1)
                look = self._is_due(done, CHECK_EVERY) or self._is_due(done, self._point_every)
                if look or self._is_due(done, self.params.checkpoint_every):
                    self._look(done)
                self.state.seconds += time.perf_counter() - started
                if self._is_due(done, self.params.evaluate_every):
                    self.state.eval_loss = self.evaluate()
                    self._add_point(done, eval_loss=self.state.eval_loss)
                elif self._is_due(done, self._point_every):
                    self._add_point(done)
                if done % self.params.checkpoint_every == 0 and done < self.steps:
                    self._save(done)
                bar.update(1, postfix=self._postfix())

    def settle(self) -> None:
        """The weights to export into the model of the first rank: the averages if there are any,
        which are then what `eval_loss` tells of.
        """
        averages = None
        if self.average:
            averages = self.average.put()
            self.state.eval_loss = self.evaluate()
        settle(self.engine, self.ranks, averages)

    def _save(self, done: int) -> None:
        also = self.average.save if self.average else None
        self.checkpoints.save(self.engine, done, asdict(self.state), also=also)

    def _is_due(self, done: int, every: int) -> bool:
        return done % every == 0 or done == self.steps

    @property
    def _point_every(self) -> int:
        return max(1, self.steps // CURVE_POINTS)

    def _step(self, step: int) -> None:
        """Forward and backward over this rank's micro-batches, then one step of the optimizer."""
        batch = training_batch(
            self.task, step, batch_size=self.params.batch_size, layout=self.layout
        )
        rate = learning_rate(step, self.params, steps=self.steps)
        for group in self.engine.optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(int(hash_keys(self.task.seed, step, self.ranks.rank, _DROPOUT)))
        self.engine.train()
        total = torch.zeros((), device=self.ranks.device)
        for micro in batch.micro_batches:
            loss = self.engine(micro.to(self.ranks.device))
            # The engine averages the gradients over ranks: the factor makes that a sum.
            self.engine.backward(loss * self.ranks.world_size, scale_wrt_gas=False)
            total += loss.detach()
        self.engine.step()
        if self.average:
            self.average.update(step + 1)
        masked = torch.tensor(float(batch.num_masked), device=self.ranks.device)
        self._pending.append(torch.stack([total, masked]))
        self._count(batch)

    def _count(self, batch: GlobalBatch) -> None:
        self.state.tokens += batch.num_tokens
        for kind, pairs in enumerate(batch.num_attended(self.engine.module.window)):
            self.state.attended[kind] += pairs

    def _look(self, done: int) -> None:
        """Add up the losses of the ranks; one that is no number ends the run in all of them."""
        if not self._pending:
            return
        sums = self.ranks.sum(torch.stack(self._pending).double()).cpu()
        first = done - len(self._pending)
        self._pending = []
        for step, (loss, masked) in enumerate(sums.tolist(), start=first):
            if not math.isfinite(loss):
                raise StageFailure(
                    f"{self.name}: the loss at step {step + 1} is {loss}; lower "
                    f"{self.name}.training.learning_rate or max_grad_norm (the last checkpoint "
                    "is kept)"
                )
            self.state.losses.append(loss)
            self.state.masked += int(masked)

    def _add_point(self, done: int, *, eval_loss: float | None = None) -> None:
        losses = self.state.losses
        point = {
            "step": done,
            "loss": math.fsum(losses) / len(losses),
            "eval_loss": eval_loss,
            "learning_rate": learning_rate(done - 1, self.params, steps=self.steps),
            "tokens": self.state.tokens,
        }
        self.state.curve.append(point)
        self.state.losses = []
        self._check_spike(done)

    def _check_spike(self, done: int) -> None:
        """End a training that unlearns; all ranks see the same losses, so all of them end."""
        window = math.ceil(self.params.spike_steps / self._point_every)
        losses = [float(point["loss"] or 0.0) for point in self.state.curve]
        if len(losses) < 2 * window:
            return
        first, last = math.fsum(losses[:window]) / window, math.fsum(losses[-window:]) / window
        if last > self.params.spike_ratio * first:
            raise StageFailure(
                f"{self.name}: the loss rose to {last:.3g} by step {done}, {last / first:.1f} "
                f"times that of the start; lower {self.name}.training.learning_rate or "
                "max_grad_norm (the last checkpoint is kept)"
            )

    def _postfix(self) -> dict[str, object]:
        speed = self.state.tokens / max(self.state.seconds, 1e-9)
        last = self.state.curve[-1]["loss"] if self.state.curve else None
        shown: dict[str, object] = {} if last is None else {"loss": f"{last:.4f}"}
        return shown | {"tokens/s": f"{speed:.0f}"}

    @torch.no_grad()
    def evaluate(self) -> float:
        """The objective on held-out samples, with draws that are the same every time."""
        self.engine.eval()
        total = torch.zeros((), dtype=torch.float64, device=self.ranks.device)
        normalizer = 0.0
        for batch in evaluation_batches(
            self.heldout, batch_size=self.params.batch_size, layout=self.layout
        ):
            normalizer += batch.normalizer
            for micro in batch.micro_batches:
                total += self.engine(micro.to(self.ranks.device)).double() * batch.normalizer
        return float(self.ranks.sum(total)) / normalizer


def number_of_steps(params: TrainingParams, num_samples: int) -> int:
    """The steps asked for, or those of the epochs asked for."""
    if params.steps is not None:
        return params.steps
    assert params.epochs is not None
    return max(1, round(params.epochs * steps_per_epoch(num_samples, params.batch_size)))
