"""Sections of `params.yaml`: tokenizer, corpus and instructions; and what all sections share."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[int, Field(ge=1)]
NonNegative = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Source = Literal["hub", "local", "sample"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, protected_namespaces=())


class TokenizerParams(Section):
    source: Literal["hub", "local", "scratch"]
    name: str
    revision: str
    vocab_size: Annotated[int, Field(ge=300, le=1_000_000)]
    max_documents: Positive
    chat_format: Literal["compact", "published"]


class HubDataset(Section):
    name: str
    config: str | None
    revision: str
    split: str
    field: str
    group: str
    licence: str | None = None


class LanguageParams(Section):
    kept: list[str]
    min_words: Positive
    sure: Share
    sure_words: Positive
    margin: Share


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


class ContaminationParams(Section):
    ngram: Positive
    min_words: Positive
    min_item_words: Positive
    threshold: Annotated[float, Field(gt=0, le=1)]
    short_threshold: Annotated[float, Field(gt=0, le=1)]


class CorpusParams(Section):
    source: Source
    digest: str | None
    hub: list[HubDataset]
    use: Literal["research", "commercial"]
    allowed_licences: list[str]
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
    heldout_documents: Positive


class HubInstructions(Section):
    name: str
    revision: str
    split: str


class InstructionsParams(Section):
    source: Source
    digest: str | None
    phase1: HubInstructions
    phase2: HubInstructions
    max_bad_share: Share
    max_tokens: Positive
    max_rows: Positive | None
    balance: Literal["none", "source"]
    heldout_rows: Positive

    @model_validator(mode="after")
    def balance_has_a_size(self) -> "InstructionsParams":
        if self.balance == "source" and self.max_rows is None:
            raise ValueError("balance: source needs max_rows, the number of rows to balance")
        return self
