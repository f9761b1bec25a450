"""How much text a params file will read, learn from and score: counted, published or assumed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from diffutron.config.params import EvaluateParams, Params
from diffutron.config.training_params import TrainingParams
from diffutron.data.evaluation_sets.places import HUB
from diffutron.paper.published import CORPUS, PHASE_2_ROWS

BYTES_PER_TOKEN = {"hub": 4.0, "local": 4.0, "sample": 7.0}  # the sample has few different words
CHAT_TOKENS = 8  # markers of the chat format and both ends
ASSUMED_PHASE_1_ROWS = 52_000
ASSUMED_TASK_ROWS = 1000  # of a task of the hub that does not state them
ROW_BYTES = 360  # an instruction and its answer, where rows were not counted
DOCUMENT_BYTES = 900
GZIP = 3.0  # bytes of text in a byte of a .gz file
NUM_MODELS = 4  # base, merged, phase 1, phase 2
PROMPT_TOKENS = 40  # of a generated answer
# Of the model rows of a task item, at 15 or 16 rows a choice: the mean of the seven sets, counted
# on the built-in sample, and on local files of the seven asked as text and as chat.
SAMPLE_ITEM_TOKENS, ITEM_TOKENS = 770, {"text": 1500, "chat": 2500}
PROBED_SETS, PROBED_TOKENS = 3, 120  # local sets with a training split; tokens of a row


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

    parts: dict[str, Texts]  # "corpus", "instruct_phase1", "instruct_phase2"
    instruction_tokens: int = 0  # that the stage `instructions` reads, before quotas

    @property
    def assumptions(self) -> list[str]:
        return [f"{part}: {t.count:,} texts, {t.known}" for part, t in self.parts.items()]

    def trained_tokens(self, part: str, training: TrainingParams) -> int:
        """Tokens that a training reads: whole samples, in steps of `batch_size` of them."""
        texts = self.parts[part]
        samples = texts.count * (training.epochs or 0.0)
        if training.steps is not None:
            samples = training.steps * training.batch_size
        return round(samples * min(texts.tokens_each, training.packed_length))

    def scored_tokens(self, evaluate: EvaluateParams) -> int:
        """Tokens of all forward passes of the four models, roughly: likelihoods and answers."""
        size = 200 if evaluate.source == "sample" else 10**9
        items = [min(HUB[task].rows or size, size) for task in evaluate.tasks]
        items += own_items(evaluate)
        few = sum(min(n, evaluate.max_items or n) for n in items)
        most = sum(min(n, evaluate.max_items_final or n) for n in items)
        text_item, tuned_item = (
            SAMPLE_ITEM_TOKENS if evaluate.source == "sample" else ITEM_TOKENS[kind]
            for kind in ("text", evaluate.tuned_format)
        )
        tasks = few * (2 * text_item + tuned_item) + most * tuned_item
        if evaluate.source == "local":
            tasks += NUM_MODELS * evaluate.probe_rows * PROBED_SETS * PROBED_TOKENS
        text = (evaluate.heldout_documents + evaluate.perplexity_text.documents) * NUM_MODELS
        text = round(text * evaluate.nelbo_samples * self.parts["corpus"].tokens_each)
        answer = PROMPT_TOKENS + evaluate.generation.max_new_tokens
        answers = evaluate.instruction_rows * evaluate.generation.num_steps * answer
        return tasks + text + NUM_MODELS * answers


def own_items(evaluate: EvaluateParams) -> list[int]:
    """Rows of each of somebody's own tasks: stated, counted in its files, or assumed."""
    if evaluate.tasks_dir is None:
        return []
    from diffutron.data.task_folder import SETTING, read_tasks  # needs pyarrow

    tasks = read_tasks(Path(evaluate.tasks_dir), setting=SETTING)
    return [
        task.spec.metadata.rows or (len(task.rows().rows) if task.files() else ASSUMED_TASK_ROWS)
        for task in tasks.values()
    ]


def volume_of(params: Params) -> Volume:
    """The sources of a params file, counted where that needs no download."""
    from diffutron.sample import documents, instructions

    seed, corpus, section = params.seed, params.corpus, params.instructions
    count, size = CORPUS
    found = _texts(
        "corpus",
        corpus.source,
        sample=lambda: (row["text"] for row in documents(seed=seed)),
        published=Texts(count, size / count, "as published"),
        bytes_each=DOCUMENT_BYTES,
    )
    each = found.tokens_each / BYTES_PER_TOKEN[corpus.source] + 2
    parts = {"corpus": replace(found, tokens_each=min(each, corpus.max_tokens))}
    phases: tuple[tuple[Literal[1, 2], Texts], ...] = (
        (1, Texts(ASSUMED_PHASE_1_ROWS, ROW_BYTES, f"at {ROW_BYTES} bytes a text (both assumed)")),
        (2, Texts(PHASE_2_ROWS, ROW_BYTES, f"as published, at {ROW_BYTES} bytes a text (assumed)")),
    )
    read = 0
    for phase, published in phases:
        found = _texts(
            "instructions",
            section.source,
            sample=lambda phase=phase: (
                " ".join(r.values()) for r in instructions(phase, seed=seed)
            ),
            published=published,
            bytes_each=ROW_BYTES,
        )
        # A folder has one set of files for both phases.
        read = max(read, found.tokens) if section.source == "local" else read + found.tokens
        count, known = found.count, found.known
        if section.max_rows is not None and section.max_rows < count:
            count, known = section.max_rows, f"kept of {count:,} {known}"
        each = found.tokens_each / BYTES_PER_TOKEN[section.source] + CHAT_TOKENS
        parts[f"instruct_phase{phase}"] = Texts(count, min(each, section.max_tokens), known)
    return Volume(parts, round(read / BYTES_PER_TOKEN[section.source]))


def _texts(
    section: str,
    source: str,
    *,
    sample: Callable[[], Iterable[str]],
    published: Texts,
    bytes_each: int,
) -> Texts:
    """The texts of a section with their bytes in place of tokens: counted, weighed or published."""
    if source == "sample":
        sizes = [len(text.encode()) for text in sample()]
        return Texts(len(sizes), sum(sizes) / len(sizes), "counted")
    if source != "local":
        return published
    from diffutron.data.sources.row_readers import list_files
    from diffutron.data.sources.sources import local_folder

    size = sum(
        round(file.stat().st_size * (GZIP if file.suffix == ".gz" else 1))
        for folder in local_folder(section)
        for file in list_files(folder, setting=f"{section}.source")
    )
    note = f"from {size:,} bytes at {bytes_each} a text (assumed)"
    return Texts(round(size / bytes_each), bytes_each, note)
