"""The sections of `params.yaml` that make data: tokenizer, corpus and instructions."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from diffutron.config.section import (
    FromSource,
    HubName,
    HubRows,
    NonNegative,
    Positive,
    Section,
    Share,
    TaskName,
)


class TokenizerParams(HubName):
    source: Literal["hub", "local", "scratch"] = Field(
        description="the hub, a folder, or a new vocabulary from the corpus"
    )
    vocab_size: Annotated[int, Field(ge=300, le=1_000_000)] = Field(
        description="entries of a new vocabulary, in tokens"
    )
    max_documents: Positive = Field(description="read for a new vocabulary, or for `trim`")
    chat_format: Literal["compact", "published"] = Field(
        description="compact has short markers, published those of the article"
    )
    trim: Positive | None = Field(
        description="cut a known vocabulary to this many of its most frequent tokens"
    )

    @model_validator(mode="after")
    def trim_cuts_what_is_there(self) -> "TokenizerParams":
        if self.source == "scratch" and self.trim is not None:
            raise ValueError(
                "trim cuts a published vocabulary; with source: scratch vocab_size is its size, so "
                "take trim: null"
            )
        return self


class HubDataset(HubRows):
    field: str = Field(description="column of the text")
    group: str = Field(description="what the rows are called in quotas and cards")
    license: str | None = Field(
        default=None, description="of the data set, where the hub does not say it"
    )


class HubInstructions(HubRows):
    """Rows of instructions; `fields` tells what the set calls a field: {ours: theirs}.

    The rows of a `translation` may be in any language.
    """

    fields: dict[str, str] = Field(
        default_factory=dict, description="what the data set calls our fields: {ours: theirs}"
    )
    license: str | None = Field(
        default=None, description="of the data set, where the hub does not say it"
    )
    translation: bool = Field(
        default=False, description="whether the rows translate, and so may be in any language"
    )


class LanguageParams(Section):
    kept: list[str] = Field(description="languages that are kept, e.g. [tr]; empty keeps all")
    min_words: Positive = Field(description="shorter texts are kept")
    min_score: Share = Field(description="the fast model decides alone from this probability on")
    min_score_words: Positive = Field(description="and from this many words on")
    disagreement_margin: Share = Field(description="by so much it must outvote the careful model")


class QualityParams(Section):
    min_words: Positive = Field(description="shorter texts are judged by their letters alone")
    min_mean_word: Annotated[float, Field(gt=0)] = Field(
        description="letters; a lower mean length of words is refused"
    )
    max_mean_word: Annotated[float, Field(gt=0)] = Field(
        description="letters; a higher mean length of words is refused"
    )
    max_symbol_share: Share = Field(description="hashes and ellipses per word")
    min_letter_words: Share = Field(description="share of words with a letter")
    max_bullet_lines: Share = Field(description="share of lines that begin with a bullet")
    max_ellipsis_lines: Share = Field(description="share of lines that end with an ellipsis")
    function_words_from: Positive = Field(
        description="words; texts from here on need different function words"
    )
    min_function_words: NonNegative = Field(description="how many of them")


class RepetitionParams(Section):
    min_words: Positive = Field(description="shorter texts are not judged")
    max_duplicate_lines: Share = Field(description="share of lines that stand there more than once")
    max_top_ngram: tuple[Share, Share, Share] = Field(
        description="share of characters in the commonest 2-, 3-, 4-gram"
    )
    ngram: Annotated[int, Field(ge=2)] = Field(description="words of a repeated sequence")
    max_duplicate_ngrams: Share = Field(description="share of characters in repeated sequences")


class NearDuplicateParams(Section):
    ngram: Positive = Field(description="words of a shingle")
    bands: Positive = Field(description="of the MinHash signature; bands x rows is its length")
    rows: Positive = Field(description="of a band")
    threshold: Annotated[float, Field(gt=0, le=1)] = Field(
        description="Jaccard similarity from which two texts are the same"
    )


class WholeFields(Section):
    """When a question gives a document away that stands there word for word.

    words: of a question with the nearest other field, or of an item that has no other field.
    reach: at most so many words lie between the question and the other field.
    """

    words: Positive = Field(description="of a question that gives a document away, word for word")
    reach: Positive = Field(description="words between the question and its other field, at most")


class ContaminationRules(Section):
    ngram: Positive = Field(description="words of a sequence that is compared")
    min_words: Positive = Field(description="a field of an item with fewer words is a short one")
    min_item_words: Positive = Field(
        description="short fields of an item with fewer words say too little"
    )
    threshold: Annotated[float, Field(gt=0, le=1)] = Field(
        description="share of a long field's sequences that gives it away"
    )
    short_threshold: Annotated[float, Field(gt=0, le=1)] = Field(
        description="share of the words of all short fields that gives them away"
    )
    whole_fields: WholeFields | None = Field(
        description="questions that stand in a document word for word; null is off"
    )


class ContaminationParams(ContaminationRules):
    tasks: list[TaskName] = Field(description="evaluation sets that the texts are cleaned of")


class PersonalDataParams(Section):
    """What is replaced besides mail, phone, identity and tax number, IBAN, card and IP."""

    plates: bool = Field(description="licence plates of Turkey are replaced too")


class CorpusParams(FromSource):
    hub: list[HubDataset] = Field(description="data sets that are read where source is hub")
    use: Literal["research", "commercial"] = Field(
        description="what the result is for; licenses are judged by it"
    )
    allowed_licenses: list[str] = Field(description="taken although they do not allow that use")
    max_bad_share: Share = Field(
        description="of the lines read; more unreadable ones stop the stage"
    )
    shard_documents: Positive = Field(
        description="rows of a source file that are cleaned, and kept, together"
    )
    language: LanguageParams = Field(
        description="which languages are kept, and how sure the models must be"
    )
    min_tokens: Positive = Field(description="shorter documents are dropped")
    max_tokens: Positive = Field(description="longer documents are dropped or split")
    too_long: Literal["drop", "split"] = Field(description="what happens to a longer document")
    quality: QualityParams = Field(
        description="after Gopher (arXiv 2112.11446) and C4 (arXiv 1910.10683)"
    )
    repetition: RepetitionParams = Field(description="after Gopher (arXiv 2112.11446, table A1)")
    personal_data: PersonalDataParams = Field(
        description="what is replaced besides mail, phone, identity number and the like"
    )
    boilerplate_documents: Positive = Field(
        description="a line that stands in more documents is boilerplate"
    )
    near_duplicate: NearDuplicateParams = Field(
        description="MinHash with locality-sensitive hashing"
    )
    contamination: ContaminationParams = Field(
        description="when a document holds an item of an evaluation set"
    )
    quotas: dict[str, Positive] = Field(
        description="documents per group, at most; a group not named is kept whole"
    )
    heldout_documents: Annotated[int, Field(ge=2)] = Field(
        description="documents that no training reads"
    )  # a paired comparison needs two


class InstructionsParams(FromSource):
    phase1: HubInstructions = Field(description="data set of phase 1 where source is hub")
    phase2: HubInstructions = Field(description="data set of phase 2 where source is hub")
    max_bad_share: Share = Field(
        description="of the rows read; more unreadable ones stop the stage"
    )
    max_tokens: Positive = Field(description="of prompt and answer together")
    too_long: Literal["drop", "cut"] = Field(
        description="cut shortens the ends of a prompt's longest lines"
    )
    max_rows: Positive | None = Field(description="of each phase, after the filters; null is all")
    balance: Literal["none", "source"] = Field(
        description="source takes equal numbers of each source into max_rows"
    )
    heldout_rows: Positive = Field(description="rows of each phase that no training reads")

    @model_validator(mode="after")
    def balance_has_a_size(self) -> "InstructionsParams":
        if self.balance == "source" and self.max_rows is None:
            raise ValueError("balance: source needs max_rows, the number of rows to balance")
        return self
