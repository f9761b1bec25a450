"""The one training loop: micro-batches to gradients, steps, evaluations and checkpoints.

What a step does depends on its number alone, so a resumed run repeats nothing and skips nothing.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffutron.config.training_params import (
    BackboneParams,
    InstructParams,
    PretrainParams,
    TrainingParams,
)
from diffutron.data.token_store import Samples
from diffutron.diffusion.process.loss import weighted_nll
from diffutron.diffusion.process.noise import hash_keys
from diffutron.modeling.attention import use_packed_attention
from diffutron.modeling.compiled import compile_layers
from diffutron.modeling.encoder import count_parameters, encoder_matrices
from diffutron.modeling.flops import matmul_peak, training_flops
from diffutron.modeling.head import head_nll, run_encoder, unwrap_masked_lm
from diffutron.modeling.matmul import use_fast_matmul
from diffutron.modeling.packing import attention_masks
from diffutron.runtime.errors import StageFailure
from diffutron.runtime.files import atomic_folder
from diffutron.runtime.progress import Progress
from diffutron.training.batches import (
    GlobalBatch,
    Layout,
    MicroBatch,
    TrainingSet,
    batches_ahead,
    evaluation_batches,
    number_of_steps,
    steps_per_epoch,
    training_batch,
)
from diffutron.training.checkpoint import Checkpoints
from diffutron.training.ema import MovingAverage
from diffutron.training.engine import start_engine
from diffutron.training.full_weights import HeadNorms, gather_full_weights, set_exact_weights
from diffutron.training.optimizer import learning_rate, runs_muon, set_learning_rates
from diffutron.training.ranks import Ranks
from diffutron.training.record import LiveCurve, TrainerState, machine_facts, write_record

CHECK_EVERY = 10  # steps between two looks at the losses: each look is a collective call
CURVE_POINTS = 500
MOST_SKIPPED = 5  # steps in a row whose gradients are unusable
_DROPOUT = 13  # stream of random numbers


@dataclass(frozen=True)
class StageRun:
    """One run of a training stage: its numbers, and the paths that it reads and writes.

    inputs: what a checkpoint depends on besides the section and the seed.
    """

    name: str
    section: BackboneParams | PretrainParams | InstructParams
    seed: int
    inputs: tuple[Path, ...]
    out: Path
    metrics: Path
    started: float = field(default_factory=time.monotonic)


def train(
    stage: StageRun,
    ranks: Ranks,
    model: nn.Module,
    data: TrainingSet,
    heldout: Samples,
    save: Callable[[Path], None],
) -> None:
    """Train `model`, from the newest checkpoint if there is one, and leave it with its record.

    heldout: samples of which the first ones are evaluated on. save: writes the model into a folder
    that becomes `stage.out`; the first rank calls it. The checkpoints go when all is written.
    """
    params = stage.section.training
    trainer = Trainer(
        model,
        data,
        data.heldout(heldout.first(params.evaluate_samples)),
        params,
        ranks,
        name=stage.name,
        checkpoints=Checkpoints.of_stage(
            stage.name, stage.section, ranks, seed=stage.seed, inputs=stage.inputs
        ),
    )
    trainer.run()
    trainer.gather_full_weights()
    values = trainer.figures()
    if ranks.is_main:
        with atomic_folder(stage.out) as folder:
            save(folder)
        seconds = time.monotonic() - stage.started
        write_record(stage.metrics, {"seconds": seconds, **values}, trainer.state)
    trainer.checkpoints.remove()


class MaskedLoss(nn.Module):
    """A micro-batch to its part of the loss: nats of the masked tokens, weighted and normalized."""

    def __init__(self, model: nn.Module, *, mask_token_id: int) -> None:
        super().__init__()
        self.model = model
        self.mask_token_id = mask_token_id
        self.window: int = unwrap_masked_lm(model).config.sliding_window
        use_packed_attention(model)
        use_fast_matmul(model)
        if hasattr(model, "peft_config"):
            from diffutron.training.merged_lora import use_merged_lora

            use_merged_lora(model)

    def forward(self, micro: MicroBatch) -> Tensor:
        micro = micro.rounded(unwrap_masked_lm(self.model).dtype)
        nll = head_nll(
            self.model,
            self._hidden(micro),
            micro.targets,
            micro.weights,
            mask_token_id=self.mask_token_id,
        )
        return weighted_nll(nll, micro.weights, normalizer=micro.normalizer)

    def _hidden(self, micro: MicroBatch) -> Tensor:
        """Hidden states [M, H] at the masked places."""
        masks: Mapping[str, Tensor | None] = {"full_attention": None, "sliding_attention": None}
        kernel: dict[str, Any] = {}
        if micro.bounds is None:
            masks = attention_masks(micro.segment, window=self.window)
        else:
            kernel = {"sample_bounds": micro.bounds, "longest": micro.longest}
        hidden = run_encoder(self.model, micro.noisy_ids, masks, micro.position_ids, **kernel)
        return hidden.flatten(0, 1).index_select(0, micro.masked_at)


class Trainer:
    """What is learned, the engine that learns it, and where it stands."""

    def __init__(
        self,
        model: nn.Module,
        data: TrainingSet,
        heldout: TrainingSet,
        params: TrainingParams,
        ranks: Ranks,
        *,
        name: str,
        checkpoints: Checkpoints,
    ) -> None:
        self.data, self.heldout, self.params, self.ranks = data, heldout, params, ranks
        self.model, self.name, self.checkpoints = model, name, checkpoints
        self.layout = Layout(
            params.packed_length, params.micro_batch_rows, ranks.rank, ranks.world_size
        )
        self.steps = number_of_steps(params, len(data.samples))
        self.point_every = max(1, self.steps // CURVE_POINTS)
        self.state, self.live = TrainerState(), LiveCurve(enabled=ranks.is_main)
        self._pending: list[Tensor] = []  # [loss, masked] of steps not yet looked at
        self._skipped_in_a_row, self._warned = 0, False
        self.resumed_from: int | None = None
        self.average: MovingAverage | None = None
        self.engine = self._start()
        self.head_norms = HeadNorms(self.engine, model, params)

    def _start(self) -> Any:
        newest = self.checkpoints.newest()
        if newest:
            self.checkpoints.prepare(newest)
        lm = unwrap_masked_lm(self.model)
        if self.params.gradient_checkpointing:
            lm.gradient_checkpointing_enable({"use_reentrant": False})
        loss = MaskedLoss(self.model, mask_token_id=self.data.mask_token_id)
        if self.params.zero_stage < 3:  # which gathers the weights of each layer as it runs
            compile_layers(lm.model.layers)
        # The engine gives the parameters other values: rounded ones in bf16, pieces by ZeRO-3.
        first = {name: weight.data for name, weight in loss.named_parameters()}
        self.frozen = {n: first[n] for n, w in loss.named_parameters() if not w.requires_grad}
        engine = start_engine(
            loss,
            self.params,
            self.ranks,
            read_directly=lm.decoder.parameters(),  # by the fused loss
            matrices=encoder_matrices(lm),
            universal=newest is not None and self.checkpoints.converts(newest),
        )
        if newest:
            self.checkpoints.load(engine, newest)
        else:
            set_exact_weights(engine, first)
        if self.params.ema_decay is not None:
            self.average = MovingAverage(engine.module, self.params.ema_decay, self.ranks)
        if newest:
            if self.average:
                self.average.load(newest.folder)
            self.state = TrainerState(**newest.state)
            self.resumed_from = newest.step
            if self.ranks.is_main:
                print(f"{self.name}: resumed at step {newest.step} of {self.steps}", flush=True)
        return engine

    def run(self) -> None:
        """All steps that are left."""
        first = self.resumed_from or 0
        if first == 0:
            self.state.eval_loss_before = self.evaluate()
        self.live.start(self.state)
        with Progress(
            total=self.steps, desc=self.name, unit="step", initial=first, enabled=self.ranks.is_main
        ) as bar:
            batches = batches_ahead(
                self._batch, range(first, self.steps), thread=self.ranks.device.type != "cpu"
            )
            for done in range(first + 1, self.steps + 1):
                started, busy = time.perf_counter(), time.process_time()
                self._step(done - 1, next(batches))
                every = (CHECK_EVERY, self.point_every, self.params.checkpoint_every)
                if any(self._is_due(done, number) for number in every):
                    self._sync_losses(done)
                self.state.seconds += time.perf_counter() - started
                self.state.cpu_seconds += time.process_time() - busy
                if self._is_due(done, self.params.evaluate_every):
                    self.state.eval_loss = self.evaluate()
                    self._add_point(done, eval_loss=self.state.eval_loss)
                elif self._is_due(done, self.point_every):
                    self._add_point(done)
                if done % self.params.checkpoint_every == 0 and done < self.steps:
                    also = self.average.save if self.average else None
                    self.checkpoints.save(self.engine, done, asdict(self.state), also=also)
                bar.update(1, postfix=self.state.shown())

    def _is_due(self, done: int, every: int) -> bool:
        return done % every == 0 or done == self.steps

    def _batch(self, step: int) -> GlobalBatch:
        return training_batch(
            self.data, step, batch_size=self.params.batch_size, layout=self.layout
        )

    def _step(self, step: int, batch: GlobalBatch) -> None:
        """Forward and backward over this rank's micro-batches, then one step of the optimizer."""
        set_learning_rates(self.engine.optimizer, step, self.params, steps=self.steps)
        torch.manual_seed(int(hash_keys(self.data.seed, step, self.ranks.rank, _DROPOUT)))
        self.engine.train()
        total = torch.zeros((), device=self.ranks.device)
        for micro in batch.micro_batches:
            loss = self.engine(micro.to(self.ranks.device))  # `MaskedLoss.forward`
            # The engine averages the gradients over ranks: the factor makes that a sum.
            self.engine.backward(loss * self.ranks.world_size, scale_wrt_gas=False)
            total += loss.detach()
        skipped = self.engine.skipped_steps
        if self._is_due(step + 1, self.point_every):
            self.live.look(self.engine)
        self.engine.step()
        self._count_skipped(step, self.engine.skipped_steps - skipped)
        self.head_norms.restore()
        if self.average:
            self.average.update(step + 1)
        masked = total.new_full((), batch.num_masked)  # no copy, which would wait for the device
        self._pending.append(torch.stack([total, masked]))
        self.state.tokens += batch.num_tokens
        for kind, pairs in enumerate(batch.num_attended(self.engine.module.window)):
            self.state.attended[kind] += pairs

    def _count_skipped(self, step: int, skipped: int) -> None:
        """DeepSpeed leaves out a step whose gradients hold infinities; many of them end the run."""
        self.state.skipped_steps += skipped
        self._skipped_in_a_row = self._skipped_in_a_row + skipped if skipped else 0
        if self._skipped_in_a_row >= MOST_SKIPPED:
            raise self._diverged(
                f"{MOST_SKIPPED} steps in a row, up to step {step + 1}, had gradients that are "
                "infinite or no numbers"
            )

    def _sync_losses(self, done: int) -> None:
        """Add up the losses of the ranks; one that is no number ends the run in all of them."""
        if not self._pending:
            return
        sums = self.ranks.all_reduce(torch.stack(self._pending).double()).cpu()
        first = done - len(self._pending)
        self._pending = []
        for step, (loss, masked) in enumerate(sums.tolist(), start=first):
            if not math.isfinite(loss):
                raise self._diverged(f"the loss at step {step + 1} is {loss}")
            self.state.losses.append(loss)
            self.state.masked += int(masked)

    def _add_point(self, done: int, *, eval_loss: float | None = None) -> None:
        """A point of the curve; a loss that has risen far above its lowest so far ends the run.

        All ranks see the same losses, so all of them end.
        """
        state, params = self.state, self.params
        point = {
            "step": done,
            "loss": math.fsum(state.losses) / len(state.losses),
            "eval_loss": eval_loss,
            "learning_rate": learning_rate(done - 1, params, steps=self.steps),
            "tokens": state.tokens,
            "skipped_steps": state.skipped_steps,
        }
        state.curve.append(point)
        state.losses = []
        self.live.add(self.engine, state)
        risen = state.risen(window=math.ceil(params.spike_steps / self.point_every))
        seen = (
            f"at step {done} the mean loss over {params.spike_steps} steps is {risen:.1f} times "
            "its lowest so far"
        )
        if risen > params.spike_ratio:
            raise self._diverged(seen)
        warned, self._warned = self._warned, risen > math.sqrt(params.spike_ratio)
        if self._warned and not warned and self.ranks.is_main:
            print(f"{self.name}: {seen}; at {params.spike_ratio:g} times the run ends")

    def _diverged(self, what: str) -> StageFailure:
        rates = "learning_rate or max_grad_norm"
        if runs_muon(self.engine):
            rates = "learning_rate or optimizer.muon_learning_rate"
        return StageFailure(
            f"{self.name}: {what}; lower training.{rates} of it (the last checkpoint is kept)"
        )

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
        return float(self.ranks.all_reduce(total)) / normalizer

    def gather_full_weights(self) -> None:
        """End the training: the model of the first rank gets the whole weights that are exported.

        Where averages are kept they are what is exported, and `eval_loss` is measured on them.
        """
        averages = {}
        if self.average:
            averages = self.average.copy_into_model()
            self.state.eval_loss = self.evaluate()
        gather_full_weights(self.engine, self.ranks, self.frozen | averages)

    def figures(self) -> dict[str, Any]:
        """The plain numbers of the record; losses in nats."""
        state, samples = self.state, self.data.samples
        flops = training_flops(
            self.model,
            tokens=state.tokens,
            masked=state.masked,
            attended=(state.attended[0], state.attended[1]),
        )
        peak = matmul_peak(str(self.ranks.device)) * self.ranks.world_size
        return {
            "objective": self.data.objective.name,
            "is_bound": self.data.objective.is_bound,
            "eval_objective": self.heldout.objective.name,
            "steps": self.steps,
            "epochs": self.steps / steps_per_epoch(len(samples), self.params.batch_size),
            "samples": len(samples),
            "samples_cut": samples.num_cut,
            "tokens": state.tokens,
            "masked_tokens": state.masked,
            "tokens_per_s": state.tokens / state.seconds,
            "flops": flops,
            "matmul_peak_flops": peak,
            "peak_share": flops / state.seconds / peak,
            "loss_first": state.curve[0]["loss"],
            "loss_last": state.curve[-1]["loss"],
            "eval_loss_before": state.eval_loss_before,
            "eval_loss": state.eval_loss,
            "eval_samples": len(self.heldout.samples),
            **count_parameters(self.model),
            "training_seconds": state.seconds,
            "cpu_seconds": state.cpu_seconds * self.ranks.world_size,
            **machine_facts(self.ranks),
            "precision": self.params.precision_on(self.ranks.device.type),
            "zero_stage": self.params.zero_stage,
            "optimizer": "muon" if runs_muon(self.engine) else "adamw",
            "skipped_steps": state.skipped_steps,
            "resumed_from": self.resumed_from,
        }
