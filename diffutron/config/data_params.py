"""The sections of `params.yaml` that make data: tokenizer, corpus and instructions."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from diffutron.config.section import (
    HubName,
    HubRows,
    NonNegative,
    Positive,
    Section,
    Share,
    Source,
    TaskName,
)


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


class HubDataset(HubRows):
    field: str
    group: str
    license: str | None = None


class HubInstructions(HubRows):
    """Rows of instructions; `fields` tells what the set calls a field: {ours: theirs}.

    The rows of a `translation` may be in any language.
    """

    fields: dict[str, str] = Field(default_factory=dict)
    license: str | None = None
    translation: bool = False


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
