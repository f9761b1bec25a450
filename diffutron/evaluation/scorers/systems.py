"""The systems of the leaderboard (`infra/systems.yaml`), and what a model folder must hold."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from diffutron.config.data_params import ContaminationRules
from diffutron.config.section import TASKS, Share
from diffutron.runtime.errors import UserError
from diffutron.runtime.yaml_files import checked, read_yaml

SYSTEMS = Path("infra/systems.yaml")
MODELS = ("masked_diffusion", "causal", "encoder_decoder", "pseudo_likelihood")
Architecture = Literal[
    "masked_diffusion", "causal", "encoder_decoder", "pseudo_likelihood", "baseline", "supervised"
]
BASELINES = ("random", "constant", "longest", "shortest", "unigram")
SUPERVISED = ("bow",)


class Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Scoring(Entry):
    """How models are asked: rows a continuation may cost, tokens of a batch, one seed."""

    max_rows: Annotated[int, Field(ge=2)]
    batch_tokens: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0)]


class System(Entry):
    """One column. model: a folder or a hub name. column: its name in the published table.
    training: folders of the corpus and the instructions that it learned from."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    architecture: Architecture
    size: str | None = None
    model: str | None = None
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    column: str | None = None
    published: dict[str, Share] = Field(default_factory=dict)
    training: list[Path] = Field(default_factory=list)
    note: str | None = None

    @model_validator(mode="after")
    def fits_its_architecture(self) -> "System":
        if self.architecture in MODELS and self.model is None:
            raise ValueError(f"{self.name}: an architecture `{self.architecture}` needs a `model`")
        known = {"baseline": BASELINES, "supervised": SUPERVISED}.get(self.architecture)
        if known and self.name not in known:
            raise ValueError(f"{self.name}: no such {self.architecture}; there are {known}")
        unknown = sorted(set(self.published) - set(TASKS))
        if unknown:
            raise ValueError(f"{self.name}: published numbers of unknown tasks {unknown}")
        return self


class Systems(Entry):
    """contamination: the rules by which an item counts as seen in training."""

    scoring: Scoring
    contamination: ContaminationRules
    systems: Annotated[list[System], Field(min_length=1)]

    @model_validator(mode="after")
    def names_are_unique(self) -> "Systems":
        names = [one.name for one in self.systems]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the names {twice} stand twice")
        return self

    def choose(self, only: list[str] | None) -> list[System]:
        """The systems named, in the order of the file; all of them without names."""
        if only is None:
            return list(self.systems)
        known = [one.name for one in self.systems]
        for name in only:
            if name not in known:
                raise UserError(f"unknown system {name!r}; allowed: {', '.join(known)}")
        return [one for one in self.systems if one.name in only]


def read_systems(path: Path = SYSTEMS) -> Systems:
    """Read and check a file of systems; one line names the first fault."""
    absent = "does not exist; run this in a clone of the project, or give --systems FILE"
    return checked(read_yaml(path, absent=absent), Systems, origin=str(path))


# What `config.json` must say for an architecture; the published families and their like.
ENCODER_DECODERS = ("t5", "mt5", "umt5", "longt5", "switch_transformers", "bart", "mbart")


def check_folder(system: System) -> None:
    """UserError where `model` is a folder of another kind; a folder that is absent is no fault."""
    if system.model is None or not Path(system.model).is_dir():
        return
    folder = Path(system.model)
    config = _read_config(folder)
    kind = str(config.get("model_type"))
    heads = [str(name) for name in config.get("architectures") or []]
    if system.architecture == "masked_diffusion":
        fits = kind == "modernbert" and all(name.endswith("ForMaskedLM") for name in heads)
        wanted = "a ModernBertForMaskedLM"
    elif system.architecture == "pseudo_likelihood":
        fits = any(name.endswith("ForMaskedLM") for name in heads)
        wanted = "a masked language model"
    elif system.architecture == "encoder_decoder":
        fits = bool(config.get("is_encoder_decoder")) or kind in ENCODER_DECODERS
        wanted = "an encoder-decoder"
    else:
        fits = any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in heads)
        wanted = "a causal language model"
    if not fits:
        raise UserError(
            f"{system.name}: {folder} holds a {kind} model ({', '.join(heads) or 'no head'}), "
            f"need {wanted}; mend `architecture` or `model` of the systems file"
        )


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"{folder} holds no config.json: it is not a model folder")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON ({error})") from None
    if not isinstance(config, dict):
        raise UserError(f"{path} is no model configuration")
    return config
