"""`diffutron plan`: what a params file will cost, before anything runs.

Arithmetic is counted by the formula that the training reports with, memory by the ZeRO paper.
Sizes of sources that only a run can tell are assumed, and each assumption is named.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from diffutron.config.params import Params
from diffutron.config.training_params import PhaseParams, TrainingParams
from diffutron.planning.data_volume import Volume, volume_of
from diffutron.planning.model_cost import (
    Shape,
    activation_bytes,
    communication_bytes,
    logits_bytes,
    model_state_bytes,
    shape_of,
    trim_assumptions,
    whole_and_cut,
)

START_SECONDS = 12.0  # imports and launch of a stage that needs torch, two busy cores
DATA_TOKENS_PER_SECOND = 50_000.0  # filters and duplicates of the corpus on one core
INSTRUCTION_TOKENS_PER_SECOND = 65_000.0  # of 200 000 rows on two cores
# Of the texts a data stage has a part in memory; the others lie on disk. Measured by
# `benchmarks.corpus` and `benchmarks.instructions`.
DATA_START_MEMORY, DATA_MEMORY = 400_000_000, 1_400_000_000
CHECKPOINTS_KEPT = 2
ANSWER_SHARE = 0.5  # of an instruction sample's tokens
ZERO_STAGES = (0, 1, 2, 3)
# Fitted to steps of 1 400, 5 300 and 53 000 tokens at 307 M on an H200 (docs/performance.md). The
# host needs this time to launch the kernels, whatever their size; those of a micro-batch are
# launched while others run. Of a nominal speed products reach a part.
STEP_SECONDS = 0.003  # of an optimizer step, a layer
BATCH_SECONDS = 0.0017  # of a micro-batch, a layer
GPU_SHARE = 0.5
NOMINAL_SHARE = 0.8


@dataclass(frozen=True)
class ZeroStage:
    """What a training would need of each rank with this ZeRO stage; bytes sent are of a step."""

    stage: int
    memory_bytes_per_rank: int
    communication_bytes_per_step: int


@dataclass(frozen=True)
class StagePlan:
    """The cost of one stage; hours are of this machine."""

    name: str
    tokens: int
    flops: float
    memory_bytes_per_rank: int
    hours: float
    disk_bytes: int
    communication_bytes_per_step: int = 0  # sent by one rank
    zero_stage: int | None = None
    by_zero_stage: list[ZeroStage] = field(default_factory=list)  # of a training, all four


@dataclass(frozen=True)
class Machine:
    """Where it would run: ranks of a training stage, speed of a rank, bytes a weight is held in."""

    ranks: int | None
    flops_per_s: float
    on_gpu: bool
    by_onednn: bool = False  # large products; small ones go to BLAS, at half that speed

    def reached(self, hidden_size: int) -> float:
        """Share of the matrix-product speed that training reaches.

        CPU: fitted to widths 96 and 768, both measured: 0.2 and 0.58 by BLAS, 0.12 and 0.64 by
        oneDNN. GPU: at 307 M; `hours` adds the time of the host.
        """
        if self.on_gpu:
            return GPU_SHARE
        if self.by_onednn:
            return min(0.65, 0.003 * hidden_size**0.81)
        return min(0.6, 0.0205 * math.sqrt(hidden_size))

    def assumptions(self) -> list[str]:
        """What the hours rest on."""
        if not self.on_gpu:
            return []
        return [
            "hours on a GPU: assumed, by steps that were measured on one H200 at 307 M parameters"
        ]

    def hours(
        self, flops: float, *, ranks: int, hidden_size: int, launches: tuple[float, float] = (0, 0)
    ) -> float:
        """launches: layers that pass in all micro-batches, and in all optimizer steps."""
        # Ranks on one CPU share its cores, and the speed was measured with all of them.
        speed = self.flops_per_s * (ranks if self.on_gpu else 1)
        seconds = flops / (speed * self.reached(hidden_size))
        if self.on_gpu:
            seconds = max(seconds, BATCH_SECONDS * launches[0]) + STEP_SECONDS * launches[1]
        return (START_SECONDS + seconds) / 3600


def plan(params: Params, *, machine: Machine) -> dict[str, Any]:
    """`{"model": ..., "stages": [...], "assumptions": [...]}`, plain numbers."""
    shape, volume = shape_of(params), volume_of(params)
    both = shape.parameters + shape.adapter_parameters
    return {
        "profile": params.profile,
        "model": {
            "parameters": shape.parameters,
            "adapter_parameters": shape.adapter_parameters,
            "trainable_share": shape.adapter_parameters / both,
        },
        "machine": {
            "flops_per_s": machine.flops_per_s,
            "share_reached": machine.reached(shape.hidden_size),
            "on_gpu": machine.on_gpu,
        },
        "stages": [asdict(one) for one in Planner(params, shape, volume, machine).stages()],
        "assumptions": [
            *volume.assumptions,
            *trim_assumptions(params.tokenizer),
            *machine.assumptions(),
        ],
    }


def this_machine(*, ranks: int | None = None, gpu_tflops: float | None = None) -> Machine:
    """The speed of a large matrix product, measured here, or of a GPU that is not here."""
    import torch

    from diffutron.modeling.flops import matmul_peak
    from diffutron.modeling.matmul import prefers_onednn

    given = os.environ.get("DIFFUTRON_RANKS", "")
    ranks = ranks or (int(given) if given.isdecimal() else None)
    if gpu_tflops is not None:
        return Machine(ranks or 1, NOMINAL_SHARE * gpu_tflops * 1e12, on_gpu=True)
    on_gpu = torch.cuda.is_available()
    speed = matmul_peak("cuda" if on_gpu else "cpu")
    ranks = ranks or torch.cuda.device_count() or None
    return Machine(ranks, speed, on_gpu, by_onednn=not on_gpu and prefers_onednn())


@dataclass(frozen=True)
class Planner:
    """Plans the stages of one params file for one machine."""

    params: Params
    shape: Shape
    volume: Volume
    machine: Machine

    def stages(self) -> Iterator[StagePlan]:
        params, parts = self.params, self.volume.parts
        weights = 4 * self.shape.parameters  # files hold float32
        text = parts["corpus"].tokens
        read = text if params.tokenizer.source == "scratch" else 0
        yield _data("tokenizer", tokens=read, disk=64 * self.shape.vocab_size)
        yield _data("corpus", tokens=text, disk=8 * text)
        if params.backbone.source != "scratch":
            yield StagePlan("backbone", 0, 0.0, 0, 0.0, weights)
        elif params.backbone.objective == "diffusion":
            yield self.diffusion("backbone")
        else:
            yield self.training("backbone", params.backbone.training, params.backbone.mask_rate)
        yield self.diffusion("pretrain", adapter=True)
        merging = 2.0 * params.pretrain.lora.rank * self.shape.parameters
        yield StagePlan("merge", 0, merging, 2 * weights, START_SECONDS / 3600, weights)
        rows = self.volume.instruction_tokens
        speed = INSTRUCTION_TOKENS_PER_SECOND
        yield _data("instructions", tokens=rows, disk=8 * rows, tokens_per_second=speed)
        for name in ("instruct_phase1", "instruct_phase2"):
            yield self.phase(name)
        yield self.evaluation()
        yield StagePlan("report", 0, 0.0, 0, 5 / 3600, 2_000_000)
        yield StagePlan("register", 0, 0.0, weights, 2 * START_SECONDS / 3600, weights)

    def diffusion(self, name: str, *, share: float = 1.0, adapter: bool = False) -> StagePlan:
        """A training by the diffusion loss; `share` of its tokens may be masked at all."""
        training: TrainingParams = getattr(self.params, name).training
        masked = sum(training.mask_rates.bounds) / 2  # both shapes have this mean
        return self.training(name, training, masked * share, adapter=adapter)

    def phase(self, name: str) -> StagePlan:
        """An instruction phase: rows, of whose tokens few may be masked, and replayed documents."""
        section: PhaseParams = getattr(self.params, name)
        adapter, again = section.method == "lora", section.replay.documents
        rows = self.diffusion(name, share=ANSWER_SHARE, adapter=adapter)
        if not again:
            return rows
        training = section.training
        row = min(self.volume.parts[name].tokens_each, training.packed_length)
        documents = training.model_copy(
            update={"batch_size": again, "epochs": None}
            | {"steps": round(rows.tokens / row / training.batch_size)}
        )
        return joined(rows, self.training(name, documents, 0.5, adapter=adapter, part="corpus"))

    def training(
        self,
        name: str,
        training: TrainingParams,
        masked: float,
        *,
        adapter: bool = False,
        part: str | None = None,
    ) -> StagePlan:
        """A stage of the training loop; `masked` is the share of tokens that meet the head."""
        part = part or ("corpus" if name in ("backbone", "pretrain") else name)
        ranks = self.machine.ranks or (2 if name == "pretrain" else 1)
        return plan_training(
            name,
            training,
            self.shape,
            replace(self.machine, ranks=ranks),
            tokens=self.volume.trained_tokens(part, training),
            length=min(self.volume.parts[part].tokens_each, training.packed_length),
            masked=masked,
            adapter=adapter,
        )

    def evaluation(self) -> StagePlan:
        """Forward passes alone: a third of what a step with all weights trainable costs."""
        tokens = self.volume.scored_tokens(self.params.evaluate)
        length = self.volume.parts["corpus"].tokens_each
        forward = flops_of(self.shape, tokens, masked=0.25, length=length, adapter=False) / 3
        hours = self.machine.hours(forward, ranks=1, hidden_size=self.shape.hidden_size)
        memory = 4 * self.shape.parameters + logits_bytes(self.shape)
        return StagePlan("evaluate", tokens, forward, memory, hours, 50_000_000)


def joined(rows: StagePlan, documents: StagePlan) -> StagePlan:
    """One training of both: in each step the micro-batches of one follow those of the other."""
    larger = max(rows, documents, key=lambda one: one.memory_bytes_per_rank)
    return replace(
        larger,
        tokens=rows.tokens + documents.tokens,
        flops=rows.flops + documents.flops,
        hours=rows.hours + documents.hours,
    )


def plan_training(
    name: str,
    training: TrainingParams,
    shape: Shape,
    machine: Machine,
    *,
    tokens: int,
    length: float,
    masked: float,
    adapter: bool,
) -> StagePlan:
    """The cost of a training.

    Args:
        machine: `ranks` of it take part, one if none is given.
        tokens: that are read in all.
        length: tokens of a sample.
        masked: share of the tokens that meet the head.
        adapter: whether an adapter is trained, or all weights.
    """
    ranks = machine.ranks or 1
    flops = flops_of(shape, tokens, masked=masked, length=length, adapter=adapter)
    whole, cut = whole_and_cut(shape.adapted if adapter else shape.base)
    weight = 2 if training.precision_on("cuda" if machine.on_gpu else "cpu") == "bf16" else 4
    working = activation_bytes(training, shape, weight_bytes=weight)
    held = training.packed_length * training.micro_batch_rows
    micro_batches = max(1, math.ceil(training.batch_size * length / ranks / held))
    num_steps = tokens / (training.batch_size * length)
    layers = num_steps * shape.num_layers
    trainable = shape.adapter_parameters if adapter else shape.parameters
    frozen = shape.parameters if adapter else 0
    is_muon = training.optimizer.name == "muon" and not adapter
    by_muon = shape.matrix_parameters if is_muon else 0
    common = {"trainable": trainable, "ranks": ranks, "weight_bytes": weight}
    steps = {"whole": whole, "cut": cut, "micro_batches": micro_batches}
    zero = []
    for stage in ZERO_STAGES:
        states = model_state_bytes(stage=stage, frozen=frozen, by_muon=by_muon, **common)
        sent = communication_bytes(stage=stage, scatters=machine.on_gpu, **steps, **common)
        zero.append(ZeroStage(stage, states + working, sent))
    chosen = zero[training.zero_stage]
    return StagePlan(
        name,
        tokens,
        flops,
        chosen.memory_bytes_per_rank,
        machine.hours(
            flops,
            ranks=ranks,
            hidden_size=shape.hidden_size,
            launches=(layers * micro_batches, layers),
        ),
        (4 + 12 * CHECKPOINTS_KEPT) * trainable - 4 * CHECKPOINTS_KEPT * by_muon,
        chosen.communication_bytes_per_step,
        training.zero_stage,
        zero,
    )


def flops_of(shape: Shape, tokens: int, *, masked: float, length: float, adapter: bool) -> float:
    """Arithmetic of training on `tokens`, in samples of `length`; a third of it is forward."""
    from diffutron.modeling.flops import training_flops

    return training_flops(
        shape.adapted if adapter else shape.base,
        tokens=tokens,
        masked=round(masked * tokens),
        attended=(round(tokens * length), round(tokens * min(length, shape.local_attention))),
    )


def _data(
    name: str, *, tokens: int, disk: int, tokens_per_second: float = DATA_TOKENS_PER_SECOND
) -> StagePlan:
    hours = (3.0 + tokens / tokens_per_second) / 3600
    memory = min(DATA_START_MEMORY + 40 * tokens, DATA_MEMORY)
    return StagePlan(name, tokens, 0.0, memory, hours, disk)
