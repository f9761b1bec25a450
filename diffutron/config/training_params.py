"""The sections of `params.yaml` that train: backbone, pretrain and both phases of instructions."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from diffutron.config.section import HubName, NonNegative, Positive, Section, Share
from diffutron.runtime.provenance import multiplies_bf16


class LoraParams(Section):
    rank: Positive
    alpha: Annotated[float, Field(gt=0)]
    dropout: Annotated[float, Field(ge=0, lt=1)]


class MaskRates(Section):
    """From where training draws the probability to mask a token; held-out losses take all."""

    low: Share
    high: Share
    shape: Literal["uniform", "bell"]

    @model_validator(mode="after")
    def in_order(self) -> "MaskRates":
        if self.low >= self.high:
            raise ValueError("low must be below high; both are mask rates from 0 to 1")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        return self.low, self.high


class OptimizerParams(Section):
    """Muon trains the encoder's matrices at a rate of its own; AdamW trains all other weights."""

    name: Literal["adamw", "muon"]
    muon_learning_rate: Annotated[float, Field(gt=0)]
    muon_momentum: Annotated[float, Field(gt=0, lt=1)]
    muon_weight_decay: Annotated[float, Field(ge=0)]


class TrainingParams(Section):
    steps: Positive | None
    epochs: Annotated[float, Field(gt=0)] | None
    batch_size: Positive
    packed_length: Positive
    mask_rates: MaskRates
    optimizer: OptimizerParams
    learning_rate: Annotated[float, Field(gt=0)]
    betas: tuple[Share, Share]
    weight_decay: Annotated[float, Field(ge=0)]
    max_grad_norm: Annotated[float, Field(gt=0)]
    warmup_ratio: Share
    decay_from_ratio: Share
    final_lr_ratio: Share
    spike_ratio: Annotated[float, Field(gt=1)]
    spike_steps: Positive
    precision: Literal["auto", "fastest", "float32", "bf16"]
    zero_stage: Literal[0, 1, 2, 3]
    micro_batch_rows: Positive
    gradient_checkpointing: bool
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None
    checkpoint_every: Positive
    evaluate_every: Positive
    evaluate_samples: Positive

    @model_validator(mode="after")
    def steps_or_epochs(self) -> "TrainingParams":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give one of `steps` and `epochs`; the other one is null")
        return self

    def precision_on(self, device: str) -> Literal["float32", "bf16"]:
        """What is computed in on a kind of device, "cuda" or "cpu".

        `auto` is bf16 on a GPU and float32 on a CPU. `fastest` is bf16 also on a CPU that has
        matrix units for it, so its result depends on the processor.
        """
        if self.precision not in ("auto", "fastest"):
            return self.precision
        on_units = device == "cuda" or (self.precision == "fastest" and multiplies_bf16())
        return "bf16" if on_units else "float32"


class BackboneParams(HubName):
    source: Literal["hub", "local", "scratch"]
    hidden_size: Positive
    num_layers: Positive
    num_heads: Positive
    intermediate_size: Positive
    local_attention: Positive
    global_attn_every_n_layers: Positive
    global_rope_theta: Annotated[float, Field(gt=0)]
    initializer_range: Annotated[float, Field(gt=0)]
    embedding_range: Annotated[float, Field(gt=0)] | None
    zero_outputs: bool
    attention_identity: tuple[Share, Share]
    head_identity: Share
    head_activation: Literal["gelu", "linear"]
    max_position_embeddings: Positive
    objective: Literal["mlm", "diffusion"]
    mask_rate: Annotated[float, Field(gt=0, lt=1)]
    training: TrainingParams

    @model_validator(mode="after")
    def heads_divide_width(self) -> "BackboneParams":
        if self.hidden_size % (8 * self.num_heads):
            raise ValueError("hidden_size must be a multiple of 8 x num_heads (GPU kernels)")
        return self


class GeometricParams(Section):
    """The geometric schedule with a range of its own, in place of MDLM's."""

    name: Literal["geometric"]
    beta_min: Annotated[float, Field(gt=0)]
    beta_max: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def in_order(self) -> "GeometricParams":
        if self.beta_min >= self.beta_max:
            raise ValueError("beta_min must be below beta_max")
        return self


_BY_NAME, _WITH_RANGE = "(by name)", "(with range)"  # pydantic puts them into a fault's location
ScheduleParams = Annotated[
    Annotated[Literal["linear", "cosine", "geometric"], Tag(_BY_NAME)]
    | Annotated[GeometricParams, Tag(_WITH_RANGE)],
    Discriminator(lambda value: _BY_NAME if isinstance(value, str) else _WITH_RANGE),
]


class PretrainParams(Section):
    schedule: ScheduleParams
    lora: LoraParams
    training: TrainingParams


class InstructParams(Section):
    method: Literal["full", "lora"]
    schedule: ScheduleParams
    max_eos_fill: NonNegative
    eos_fill_weight: Share
    normalize: Literal["token", "answer"]
    lora: LoraParams
    training: TrainingParams

    @property
    def loss_parts(self) -> list[str]:
        """What sets the loss apart from the likelihood bound, besides the range of mask rates.

        End tokens after an answer do so at any weight, as they show where the answer ends.
        """
        parts = {"with end fill": self.max_eos_fill, "per answer": self.normalize == "answer"}
        return [part for part, is_there in parts.items() if is_there]


class ReplayParams(Section):
    """Documents of the corpus that are learned beside the answers, so that no text is forgotten."""

    documents: NonNegative
    weight: Annotated[float, Field(gt=0)]


NO_REPLAY = {"documents": 0, "weight": 1.0}


class PhaseParams(InstructParams):
    replay: ReplayParams
