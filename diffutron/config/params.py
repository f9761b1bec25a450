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
    FromSource,
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
    source: Source = Field(
        description="the hub, the folder DIFFUTRON_DATA, or the sample that ships"
    )
    field: str = Field(description="column of the text")
    documents: Annotated[int, Field(ge=2)] = Field(description="that are measured")


class GenerationParams(Section):
    max_new_tokens: Positive = Field(description="length of the canvas in tokens")
    num_steps: Positive = Field(description="denoising steps")
    block_length: Positive = Field(
        description="tokens of a block; blocks are filled from left to right"
    )
    temperature: Annotated[float, Field(ge=0)] = Field(description="0 takes the likeliest token")


class EvaluateParams(FromSource):
    tasks: list[TaskName] = Field(description="which of the seven are asked")
    tasks_dir: str | None = Field(
        description="folder with task files of your own, asked beside `tasks`"
    )
    tasks_digest: str | None = Field(description="of that folder; `diffutron params` writes it")
    casing: Literal["turkish", "cetvel"] = Field(
        description="of XCOPA's choices; cetvel lowers letters as Python does"
    )
    tuned_format: Literal["text", "chat"] = Field(description="how phase 1 and phase 2 are asked")
    max_items: Positive | None = Field(
        description="of each task, for base, merged and phase 1; null is all"
    )
    max_items_final: Positive | None = Field(description="the same for phase 2")
    likelihood_rows: Annotated[int, Field(ge=2)] = Field(
        description="model rows per choice; 15 are exact up to 4 tokens"
    )  # a sample needs two rows for its spread
    nelbo_samples: Annotated[int, Field(ge=2)] = Field(description="model rows per document")
    heldout_documents: Annotated[int, Field(ge=2)] = Field(
        description="of the corpus that are measured"
    )  # a paired comparison needs two
    perplexity_text: PerplexityText = Field(description="text that no stage has read")
    generation: GenerationParams = Field(description="how instructions are answered")
    instruction_rows: Positive = Field(description="held-out rows that are answered")
    probe_rows: NonNegative = Field(
        description="of a training split that the probe of frozen embeddings learns; 0 is none"
    )
    traces: NonNegative = Field(description="answers whose denoising is drawn in the report")


class ReportParams(Section):
    title: str = Field(description="of the page")


class GateParams(Section):
    min_tasks: NonNegative = Field(description="tasks of phase 2 with a p-value below max_p_value")
    max_p_value: Share = Field(description="against the better of chance and best constant answer")
    min_instructions: Share = Field(
        description="share of held-out instructions that phase 2 answers exactly"
    )
    min_valid_words: Share = Field(description="share of Turkish words in what phase 2 writes")
    below_baseline: Literal["unigram", "bigram", "five_gram"] | None = Field(
        description="whose bits per byte `merged` must undercut"
    )


class RegisterParams(Section):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = Field(
        description="of the model in the registry"
    )
    gate: GateParams = Field(description="what a version must reach to be registered")


class PromoteParams(Section):
    max_drop: Share = Field(description="a task may lie so much below the champion")
    alpha: Annotated[float, Field(gt=0, lt=1)] = Field(
        description="a difference with a smaller p-value, after Holm, is real"
    )
    max_contaminated: Share = Field(
        description="share of a source's documents that held evaluation text"
    )


class Params(Section):
    profile: str = Field(description="where the values come from")
    seed: NonNegative = Field(description="of every random number")
    tokenizer: TokenizerParams = Field(description="stage `tokenizer`")
    corpus: CorpusParams = Field(description="stage `corpus`")
    backbone: BackboneParams = Field(description="stage `backbone`")
    pretrain: PretrainParams = Field(description="stage `pretrain`: diffusion learned by LoRA")
    instructions: InstructionsParams = Field(description="stage `instructions`")
    instruct_phase1: PhaseParams = Field(description="stage `instruct_phase1`")
    instruct_phase2: PhaseParams = Field(description="stage `instruct_phase2`")
    evaluate: EvaluateParams = Field(description="stage `evaluate`")
    report: ReportParams = Field(description="stage `report`")
    register_: RegisterParams = Field(alias="register", description="stage `register`")
    promote: PromoteParams = Field(description="`diffutron promote`")


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check a params file."""
    return parse_params(read_yaml(path), origin=str(path))


def parse_params(values: Any, *, origin: str) -> Params:
    return checked(values, Params, origin=origin, renamed=KEYS)


def params_digest(params: Params) -> str:
    """sha256 of the parameters in canonical form: equal for two files that mean the same."""
    canonical = json.dumps(params.model_dump(mode="json", by_alias=True), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
