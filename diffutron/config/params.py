"""The numbers a result depends on: `params.yaml`, one strict class per section.

There are no defaults: a missing key fails, an unknown key fails, a value out of range fails, and
the message names the key and what is allowed. Only what is said of a repository of the hub besides
its name and revision may be left out. Paths and machine facts do not belong here.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from diffutron.config.data_params import CorpusParams, InstructionsParams, TokenizerParams
from diffutron.config.renamed import KEYS
from diffutron.config.section import (
    HubRows,
    NonNegative,
    Positive,
    Section,
    Share,
    Source,
    TaskName,
)
from diffutron.config.training_params import BackboneParams, PhaseParams, PretrainParams
from diffutron.runtime.yaml_files import checked, read_yaml

Stage = Literal[
    "tokenizer", "corpus", "backbone", "pretrain", "merge", "instructions",
    "instruct_phase1", "instruct_phase2", "evaluate", "report", "register",
]  # fmt: skip
STAGES: tuple[Stage, ...] = get_args(Stage)  # in the order in which they run


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
    tasks_dir: str | None
    tasks_digest: str | None
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
    probe_rows: NonNegative
    traces: NonNegative


class ReportParams(Section):
    title: str


class GateParams(Section):
    min_tasks: NonNegative
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
