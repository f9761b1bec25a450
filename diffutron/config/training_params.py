"""The sections of `params.yaml` that train: backbone, pretrain and both phases of instructions."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from diffutron.config.section import HubName, NonNegative, Positive, Section, Share
from diffutron.runtime.provenance import multiplies_bf16


class LoraParams(Section):
    rank: Positive = Field(description="width of the adapter (LoRA, arXiv 2106.09685, r)")
    alpha: Annotated[float, Field(gt=0)] = Field(description="the adapter counts alpha / rank")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="share of the adapter's inputs that are dropped"
    )


class MaskRates(Section):
    """From where training draws the probability to mask a token; held-out losses take all."""

    low: Share = Field(description="smallest mask rate that training draws")
    high: Share = Field(description="largest mask rate that training draws")
    shape: Literal["uniform", "bell"] = Field(description="even, or more often from the middle")

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

    name: Literal["adamw", "muon"] = Field(
        description="muon trains the encoder's matrices, AdamW all other weights"
    )
    muon_learning_rate: Annotated[float, Field(gt=0)] = Field(
        description="about the spectral norm of one update"
    )
    muon_momentum: Annotated[float, Field(gt=0, lt=1)] = Field(
        description="share of the last steps' mean in the next one"
    )
    muon_weight_decay: Annotated[float, Field(ge=0)] = Field(
        description="of the matrices, per unit of learning rate"
    )
    head_size: Annotated[float, Field(gt=0)] | None = Field(
        description="length of a row of a head's query and key matrix, kept by Muon; null is free"
    )


class TrainingParams(Section):
    steps: Positive | None = Field(description="optimizer steps; null where epochs is given")
    epochs: Annotated[float, Field(gt=0)] | None = Field(
        description="passes over the samples, instead of steps"
    )
    batch_size: Positive = Field(description="samples of one optimizer step, over all ranks")
    packed_length: Positive = Field(description="tokens of a row, into which samples are packed")
    mask_rates: MaskRates = Field(
        description="where training draws from; held-out losses take all rates"
    )
    optimizer: OptimizerParams = Field(
        description="of the encoder's matrices; AdamW trains the rest"
    )
    learning_rate: Annotated[float, Field(gt=0)] = Field(description="peak rate of AdamW")
    betas: tuple[Share, Share] = Field(
        description="AdamW's decay of the mean and of the mean square"
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(description="AdamW's; vectors do not decay")
    max_grad_norm: Annotated[float, Field(gt=0)] = Field(
        description="longer gradients are shortened; not with Muon"
    )
    warmup_ratio: Share = Field(description="share of the steps in which the rate rises")
    decay_from_ratio: Share = Field(
        description="share of the steps after which the rate falls linearly"
    )
    final_lr_ratio: Share = Field(description="share of the peak rate at the end")
    spike_ratio: Annotated[float, Field(gt=1)] = Field(
        description="a mean loss of so many times the lowest one ends the run"
    )
    spike_steps: Positive = Field(description="the mean is over the losses of so many steps")
    precision: Literal["auto", "fastest", "float32", "bf16"] = Field(
        description="auto is bf16 on a GPU, fastest also on a CPU that has it"
    )
    zero_stage: Literal[0, 1, 2, 3] = Field(
        description="what DeepSpeed ZeRO shares out among the ranks"
    )
    micro_batch_rows: Positive = Field(
        description="packed rows of one micro-batch; accumulation follows"
    )
    gradient_checkpointing: bool = Field(description="less memory, one more forward pass per step")
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        description="of an average of the weights, exported in their place; null is none"
    )
    checkpoint_every: Positive = Field(description="steps between two checkpoints")
    evaluate_every: Positive = Field(description="steps between two held-out losses")
    evaluate_samples: Positive = Field(description="of the held-out set, with fixed draws")

    @model_validator(mode="after")
    def steps_or_epochs(self) -> "TrainingParams":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give one of `steps` and `epochs`; the other one is null")
        return self

    def precision_on(self, device: str) -> Literal["float32", "bf16"]:
        """What is computed in on a kind of device, "cuda" or "cpu".

        `auto` is bf16 on a GPU and float32 on a CPU. `fastest` is bf16 also on a CPU that has
        instructions for it, so its result depends on the processor.
        """
        if self.precision not in ("auto", "fastest"):
            return self.precision
        on_units = device == "cuda" or (self.precision == "fastest" and multiplies_bf16())
        return "bf16" if on_units else "float32"


class BackboneParams(HubName):
    source: Literal["hub", "local", "scratch"] = Field(
        description="the hub, a folder, or a new encoder"
    )
    hidden_size: Positive = Field(description="width of a new encoder; a multiple of 8 x num_heads")
    num_layers: Positive = Field(description="of a new encoder")
    num_heads: Positive = Field(description="attention heads per layer")
    intermediate_size: Positive = Field(description="width inside the MLP")
    local_attention: Positive = Field(description="tokens that a local layer sees")
    global_attn_every_n_layers: Positive = Field(description="each n-th layer sees all tokens")
    global_rope_theta: Annotated[float, Field(gt=0)] = Field(
        description="base of the positions in global layers; local ones have 10 000"
    )
    initializer_range: Annotated[float, Field(gt=0)] = Field(
        description="standard deviation of new weights"
    )
    embedding_range: Annotated[float, Field(gt=0)] | None = Field(
        description="the same of token embeddings; null is the library's"
    )
    embedding_window: Positive | None = Field(
        description="neighbors whose counts token embeddings begin with; null is at random"
    )
    zero_outputs: bool = Field(description="attention and MLP begin by adding nothing")
    attention_identity: tuple[Share, Share] = Field(
        description="start of query x key, of value x output; [0, 0] is usual"
    )
    head_identity: Share = Field(description="added to the head's dense layer; 0 is usual")
    head_activation: Literal["gelu", "linear"] = Field(
        description="between the head's dense layer and its norm"
    )
    max_position_embeddings: Positive = Field(description="longest sequence in tokens")
    objective: Literal["mlm", "diffusion"] = Field(description="what a new backbone learns by")
    mask_rate: Annotated[float, Field(gt=0, lt=1)] = Field(
        description="of mlm; diffusion takes training.mask_rates"
    )
    training: TrainingParams = Field(description="of a new backbone")

    @model_validator(mode="after")
    def heads_divide_width(self) -> "BackboneParams":
        if self.hidden_size % (8 * self.num_heads):
            raise ValueError("hidden_size must be a multiple of 8 x num_heads (GPU kernels)")
        return self


class GeometricParams(Section):
    """The geometric schedule with a range of its own, in place of MDLM's."""

    name: Literal["geometric"] = Field(
        description="the geometric schedule (MDLM, arXiv 2406.07524)"
    )
    beta_min: Annotated[float, Field(gt=0)] = Field(description="smallest noise")
    beta_max: Annotated[float, Field(gt=0)] = Field(description="largest noise")

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
    schedule: ScheduleParams = Field(
        description="of the masking; or {name: geometric, beta_min: ..., beta_max: ...}"
    )
    lora: LoraParams = Field(description="the adapter that is trained and then merged")
    training: TrainingParams = Field(description="of the adapter")


class InstructParams(Section):
    method: Literal["full", "lora"] = Field(description="all weights, or an adapter that is merged")
    schedule: ScheduleParams = Field(description="of the masking")
    max_eos_fill: NonNegative = Field(description="end tokens that follow an answer, at most")
    eos_fill_weight: Share = Field(description="what one of them counts in the loss")
    normalize: Literal["token", "answer"] = Field(
        description="answers count by their length (token) or alike (answer)"
    )
    lora: LoraParams = Field(description="the adapter where method is lora")
    training: TrainingParams = Field(description="of the answers")

    @property
    def loss_parts(self) -> list[str]:
        """What sets the loss apart from the likelihood bound, besides the range of mask rates.

        End tokens after an answer do so at any weight, as they show where the answer ends.
        """
        parts = {"with end fill": self.max_eos_fill, "per answer": self.normalize == "answer"}
        return [part for part, is_there in parts.items() if is_there]


class ReplayParams(Section):
    """Documents of the corpus that are learned beside the answers, so that no text is forgotten."""

    documents: NonNegative = Field(description="of the corpus in each batch")
    weight: Annotated[float, Field(gt=0)] = Field(
        description="what their loss counts beside the answers'"
    )


NO_REPLAY = {"documents": 0, "weight": 1.0}


class PhaseParams(InstructParams):
    replay: ReplayParams = Field(description="documents that are learned beside the answers")
