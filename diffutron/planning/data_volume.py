"""How much text a params file will read, learn from and score: counted, published or assumed."""

from dataclasses import dataclass, replace
from typing import Literal

from diffutron.config.params import EvaluateParams, Params, TrainingParams

BYTES_PER_TOKEN = {"hub": 4.0, "local": 4.0, "sample": 7.0}  # the sample has few different words
CHAT_TOKENS = 8  # markers of the chat format and both ends
ROW_BYTES = 360  # an instruction and its answer, where rows were not counted
DOCUMENT_BYTES = 900
GZIP = 3.0  # bytes of text in a byte of a .gz file
PUBLISHED_CORPUS = (2_005_712, 1_780_000_000)  # documents and bytes, from the card of the data set
PUBLISHED_ROWS = {  # by phase: rows, bytes a row, and where the number is from
    1: (52_000, 360.0, "at 360 bytes a text (both assumed)"),
    2: (2_500_000, 360.0, "as published, at 360 bytes a text (assumed)"),
}
TASK_ITEMS = {  # of the seven test sets as CETVEL reads them
    "belebele_tr": 900,
    "exams_tr": 393,
    "ironytr": 600,
    "news_cat": 250,
    "mnli_tr": 10_000,
    "sts_tr": 1379,
    "xcopa_tr": 500,
}
NUM_MODELS = 4  # base, merged, phase 1, phase 2
ITEM_PASSES, ITEM_TOKENS, PROMPT_TOKENS = 4, 80, 40  # of a task item; of a generated answer

Part = Literal["corpus", "instruct_phase1", "instruct_phase2"]


@dataclass(frozen=True)
class Texts:
    """So many texts of so many tokens each, and where that is known from."""

    count: int
    tokens_each: float
    known: str

    @property
    def tokens(self) -> int:
        return round(self.count * self.tokens_each)


@dataclass(frozen=True)
class Volume:
    """The texts of each part of the sources, after the length filter."""

    parts: dict[Part, Texts]

    @property
    def assumptions(self) -> list[str]:
        return [f"{part}: {t.count:,} texts, {t.known}" for part, t in self.parts.items()]

    def trained_tokens(self, part: Part, training: TrainingParams) -> int:
        """Tokens that a training reads: whole samples, in steps of `batch_size` of them."""
        texts = self.parts[part]
        samples = texts.count * (training.epochs or 0.0)
        if training.steps is not None:
            samples = training.steps * training.batch_size
        return round(samples * min(texts.tokens_each, training.packed_length))

    def scored_tokens(self, evaluate: EvaluateParams) -> int:
        """Tokens of all forward passes of the four models, roughly: likelihoods and answers."""
        size = 200 if evaluate.source == "sample" else 10**9
        items = [min(TASK_ITEMS[task], size) for task in evaluate.tasks]
        few = sum(min(n, evaluate.max_items or n) for n in items)
        most = sum(min(n, evaluate.max_items_final or n) for n in items)
        tasks = (3 * few + most) * ITEM_PASSES * ITEM_TOKENS
        text = (evaluate.heldout_documents + evaluate.perplexity_text.documents) * NUM_MODELS
        text = round(text * evaluate.nelbo_samples * self.parts["corpus"].tokens_each)
        answer = PROMPT_TOKENS + evaluate.generation.max_new_tokens
        answers = evaluate.instruction_rows * evaluate.generation.num_steps * answer
        return tasks + text + NUM_MODELS * answers


def volume_of(params: Params) -> Volume:
    """The sources of a params file, counted where that needs no download."""
    return Volume(
        {
            "corpus": _corpus(params),
            "instruct_phase1": _instructions(params, 1),
            "instruct_phase2": _instructions(params, 2),
        }
    )


def _corpus(params: Params) -> Texts:
    corpus = params.corpus
    if corpus.source == "sample":
        from diffutron.sample import documents

        sizes = [len(row["text"].encode()) for row in documents(seed=params.seed)]
        texts = Texts(len(sizes), sum(sizes) / len(sizes), "counted")
    elif corpus.source == "local":
        size = _local_bytes("corpus")
        note = f"from {size:,} bytes at {DOCUMENT_BYTES} a text (assumed)"
        texts = Texts(round(size / DOCUMENT_BYTES), DOCUMENT_BYTES, note)
    else:
        count, size = PUBLISHED_CORPUS
        texts = Texts(count, size / count, "as published")
    each = texts.tokens_each / BYTES_PER_TOKEN[corpus.source] + 2
    return replace(texts, tokens_each=min(each, corpus.max_tokens))


def _instructions(params: Params, phase: Literal[1, 2]) -> Texts:
    section = params.instructions
    if section.source == "sample":
        from diffutron.sample import instructions

        rows = [" ".join(row.values()) for row in instructions(phase, seed=params.seed)]
        texts = Texts(len(rows), sum(len(row.encode()) for row in rows) / len(rows), "counted")
    elif section.source == "local":
        size = _local_bytes("instructions")
        note = f"from {size:,} bytes at {ROW_BYTES} a text (assumed)"
        texts = Texts(round(size / ROW_BYTES), ROW_BYTES, note)
    else:
        texts = Texts(*PUBLISHED_ROWS[phase])
    count, known = texts.count, texts.known
    if section.max_rows is not None and section.max_rows < count:
        count, known = section.max_rows, f"kept of {count:,} {known}"
    each = texts.tokens_each / BYTES_PER_TOKEN[section.source] + CHAT_TOKENS
    return Texts(count, min(each, section.max_tokens), known)


def _local_bytes(section: str) -> int:
    """Bytes of text in the local files of a section, by their sizes."""
    from diffutron.data.sources.row_readers import list_files
    from diffutron.data.sources.sources import local_folder

    files = [
        file
        for folder in local_folder(section)
        for file in list_files(folder, setting=f"{section}.source")
    ]
    return sum(round(f.stat().st_size * (GZIP if f.suffix == ".gz" else 1)) for f in files)
