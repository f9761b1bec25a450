"""The numbers a result depends on: `params.yaml`, one strict class per section.

There are no defaults: a missing key fails, an unknown key fails, a value out of range fails, and
the message names the key and what is allowed. Only what is said of a repository of the hub besides
its name and revision may be left out. Paths and machine facts do not belong here.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from diffutron.config.renamed import KEYS
from diffutron.runtime.provenance import multiplies_bf16
from diffutron.runtime.yaml_files import checked, read_yaml

Stage = Literal[
    "tokenizer", "corpus", "backbone", "pretrain", "merge", "instructions",
    "instruct_phase1", "instruct_phase2", "evaluate", "report", "register",
]  # fmt: skip
STAGES: tuple[Stage, ...] = get_args(Stage)  # in the order in which they run
TaskName = Literal[
    "belebele_tr", "exams_tr", "ironytr", "news_cat", "mnli_tr", "sts_tr", "xcopa_tr"
]
TASKS: tuple[str, ...] = get_args(TaskName)

Positive = Annotated[int, Field(ge=1)]
NonNegative = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Source = Literal["hub", "local", "sample"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, protected_namespaces=())


class HubName(Section):
    """A repository of the hub at a revision; `commit` is what the revision meant when it was
    written down by `diffutron params`."""

    name: str
    revision: str
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None

    @property
    def title(self) -> str:
        """`OWNER/NAME @ REVISION (COMMIT)`, as reports say it."""
        return f"{self.name} @ {self.revision}" + (f" ({self.commit[:12]})" if self.commit else "")


class TokenizerParams(HubName):
    source: Literal["hub", "local", "scratch"]
    vocab_size: Annotated[int, Field(ge=300, le=1_000_000)]
    max_documents: Positive
    chat_format: Literal["compact", "published"]
    trim: Positive | None

    @model_validator(mode="after")
    def trim_cuts_what_is_there(self) -> "TokenizerParams":
        if self.source == "scratch" and self.trim is not None:
            raise ValueError(
                "trim cuts a published vocabulary; with source: scratch vocab_size is its size, so "
                "take trim: null"
            )
        return self


class HubRows(HubName):
    """The rows of a data set of the hub; `limit` is the most that are read."""

    config: str | None = None
    split: str
    limit: Positive | None = None


class HubDataset(HubRows):
    field: str
    group: str
    license: str | None = None


class HubInstructions(HubRows):
    """Rows of instructions; `fields` tells what the set calls a field: {ours: theirs}."""

    fields: dict[str, str] = Field(default_factory=dict)
    license: str | None = None


class LanguageParams(Section):
    kept: list[str]
    min_words: Positive
    min_score: Share
    min_score_words: Positive
    disagreement_margin: Share


class QualityParams(Section):
    min_words: Positive
    min_mean_word: Annotated[float, Field(gt=0)]
    max_mean_word: Annotated[float, Field(gt=0)]
    max_symbol_share: Share
    min_letter_words: Share
    max_bullet_lines: Share
    max_ellipsis_lines: Share
    function_words_from: Positive
    min_function_words: NonNegative


class RepetitionParams(Section):
    min_words: Positive
    max_duplicate_lines: Share
    max_top_ngram: tuple[Share, Share, Share]
    ngram: Annotated[int, Field(ge=2)]
    max_duplicate_ngrams: Share


class NearDuplicateParams(Section):
    ngram: Positive
    bands: Positive
    rows: Positive
    threshold: Annotated[float, Field(gt=0, le=1)]


class WholeFields(Section):
    """When a question gives a document away that stands there word for word.

    words: of a question with the nearest other field, or of an item that has no other field.
    reach: at most so many words lie between the question and the other field.
    """

    words: Positive
    reach: Positive


class ContaminationRules(Section):
    ngram: Positive
    min_words: Positive
    min_item_words: Positive
    threshold: Annotated[float, Field(gt=0, le=1)]
    short_threshold: Annotated[float, Field(gt=0, le=1)]
    whole_fields: WholeFields | None


class ContaminationParams(ContaminationRules):
    tasks: list[TaskName]


class CorpusParams(Section):
    source: Source
    digest: str | None
    hub: list[HubDataset]
    use: Literal["research", "commercial"]
    allowed_licenses: list[str]
    max_bad_share: Share
    shard_documents: Positive
    language: LanguageParams
    min_tokens: Positive
    max_tokens: Positive
    too_long: Literal["drop", "split"]
    quality: QualityParams
    repetition: RepetitionParams
    boilerplate_documents: Positive
    near_duplicate: NearDuplicateParams
    contamination: ContaminationParams
    quotas: dict[str, Positive]
    heldout_documents: Annotated[int, Field(ge=2)]  # a paired comparison needs two


class InstructionsParams(Section):
    source: Source
    digest: str | None
    phase1: HubInstructions
    phase2: HubInstructions
    max_bad_share: Share
    max_tokens: Positive
    too_long: Literal["drop", "cut"]
    max_rows: Positive | None
    balance: Literal["none", "source"]
    heldout_rows: Positive

    @model_validator(mode="after")
    def balance_has_a_size(self) -> "InstructionsParams":
        if self.balance == "source" and self.max_rows is None:
            raise ValueError("balance: source needs max_rows, the number of rows to balance")
        return self


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


class PerplexityText(HubRows):
    source: Source
    field: str
    documents: Annotated[int, Field(ge=2)]


class GenerationParams(Section):
    max_new_tokens: Positive
    num_steps: Positive
    block_length: Positive
    temperature: Annotated[float, Field(ge=0)]


class EvaluateParams(Section):
    source: Source
    digest: str | None
    tasks: list[TaskName]
    casing: Literal["turkish", "cetvel"]
    tuned_format: Literal["text", "chat"]
    max_items: Positive | None
    max_items_final: Positive | None
    likelihood_rows: Annotated[int, Field(ge=2)]  # a sample needs two rows for its spread
    nelbo_samples: Annotated[int, Field(ge=2)]
    heldout_documents: Annotated[int, Field(ge=2)]  # a paired comparison needs two
    perplexity_text: PerplexityText
    generation: GenerationParams
    instruction_rows: Positive
    traces: NonNegative


class ReportParams(Section):
    title: str


class GateParams(Section):
    min_tasks: Annotated[int, Field(ge=0, le=len(TASKS))]
    max_p_value: Share
    min_instructions: Share
    min_valid_words: Share
    below_baseline: Literal["unigram", "bigram", "five_gram"] | None


class RegisterParams(Section):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    gate: GateParams


class PromoteParams(Section):
    max_drop: Share
    alpha: Annotated[float, Field(gt=0, lt=1)]
    max_contaminated: Share


class Params(Section):
    profile: str
    seed: NonNegative
    tokenizer: TokenizerParams
    corpus: CorpusParams
    backbone: BackboneParams
    pretrain: PretrainParams
    instructions: InstructionsParams
    instruct_phase1: PhaseParams
    instruct_phase2: PhaseParams
    evaluate: EvaluateParams
    report: ReportParams
    register_: RegisterParams = Field(alias="register")
    promote: PromoteParams


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check a params file."""
    return parse_params(read_yaml(path), origin=str(path))


def parse_params(values: Any, *, origin: str) -> Params:
    return checked(values, Params, origin=origin, renamed=KEYS)


def params_digest(params: Params) -> str:
    """sha256 of the parameters in canonical form: equal for two files that mean the same."""
    canonical = json.dumps(params.model_dump(mode="json", by_alias=True), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
