"""`diffutron tune`: a model, rows of one's own, and the same model after it has learned them.

The training is that of the instruction phases. A call that is repeated goes on where it was: the
training from its last checkpoint, answers from those that are there.
"""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from diffutron.config.params import Params
from diffutron.data.evaluation_sets.kept_out import evaluation_items
from diffutron.data.instructions.row_table import rows_file, write_rows
from diffutron.data.instructions.steps import Row, drop_contaminated_rows
from diffutron.data.matching.decontaminate import Contamination
from diffutron.evaluation.scoring.task_numbers import json_lines
from diffutron.inference.language_model import LanguageModel, checkpoint_folder
from diffutron.inference.loading import load, registered_folder
from diffutron.inference.prompts import chat_encoder
from diffutron.modeling.encoder import copy_tokenizer
from diffutron.modeling.tokenizer import chat_template, save_tokenizer
from diffutron.planning.model_cost import shape_from
from diffutron.planning.plan import this_machine
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import content_digest, file_digest, read_json, write_json, write_text
from diffutron.training.hosts import this_host
from diffutron.training.instruct import learn_answers
from diffutron.training.ranks import launch_ranks
from diffutron.training.trainer import StageRun
from diffutron.tuning import answers as asking
from diffutron.tuning.answers import Answers
from diffutron.tuning.cost import Cost, cost_of, free_memory
from diffutron.tuning.page import card, how_tuned
from diffutron.tuning.rows import PHASE, TuningRows, files_of, prepare, read_rows
from diffutron.tuning.settings import TuneParams, settings, sized

WEIGHTS = ("config.json", "*.safetensors", "*.safetensors.index.json")
INFO, RECORD, JOB = "diffutron.json", "training.json", "job.json"
DEFAULT_FORMAT: Literal["compact", "published"] = "compact"
MOST_TOKENS = 1024  # of a row, where the model holds as many
MEMORY_SHARE = 0.8  # of the free memory, which a full tuning may take before an adapter is chosen
MOST_ANSWERS, LEAST_ASKED = 0.5, 20  # of the training's arithmetic; rows that are asked anyway
SAMPLES = 5
Told = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What the user asks for.

    overrides: settings, `key=value` each. languages: rows in other ones are dropped; all if empty.
    project: rows that hold an item of its evaluation sets are dropped.
    """

    model: str
    data: Path
    out: Path
    method: Literal["full", "lora"] | None = None
    chat_format: Literal["compact", "published"] | None = None
    languages: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    project: Params | None = None

    @property
    def all_overrides(self) -> list[str]:
        """Settings of options of their own come first."""
        named = [f"method={self.method}"] if self.method else []
        named += [f"language.kept=[{', '.join(self.languages)}]"] if self.languages else []
        return [*named, *self.overrides]


@dataclass(frozen=True)
class Tuning:
    """A tuning that is ready to begin."""

    request: Request
    settings: TuneParams
    rows: TuningRows
    asked: list[Row]
    cost: Cost
    parameters: int
    key: str  # of model, rows and settings
    baselines: dict[str, float]  # shares of the asked rows that counting gets right


@dataclass(frozen=True)
class Outcome:
    """What came of it; `values` is what `--json` prints."""

    values: dict[str, Any]
    samples: list[dict[str, str]] = field(default_factory=list)


def tune(request: Request, *, told: Told, only_plan: bool = False) -> Outcome:
    """Tune a model on rows; the model is in `request.out`, with a card and its numbers.

    Args:
        request: the model, the rows, where to write, and what to set.
        told: is called with each line for the user.
        only_plan: say what it would cost, and train nothing.

    Raises:
        UserError: a mistake in what was asked for, or rows that cannot be learned from.
        ValueError: the model cannot be loaded; the message names `path`.
    """
    started = time.monotonic()
    if "RANK" in os.environ or this_host():
        raise UserError("tune works on one machine; start it there, without a launcher")
    files = files_of(request.data)
    settings(request.all_overrides)  # a wrong one is told before the model is fetched
    _refuse_other(request.out)
    found = read_rows(files)
    if found.bad_lines:
        told(f"{len(found.bad_lines)} rows cannot be used: {found.bad_examples}")
    with tempfile.TemporaryDirectory(prefix="diffutron-tune-") as folder:
        work = Path(folder)
        lm = _load(request, told, work / "start")
        tuning = _prepare(request, lm, found, work)
        dropped = ", ".join(f"{reason} {count}" for reason, count in found.dropped.items())
        counts = found.counts
        told(
            f"{counts['read']} rows read, {counts['train']} to learn, {counts['heldout']} held out"
            f"; dropped: {dropped or 'none'}"
        )
        told(how_tuned(tuning.settings, tuning.parameters, counts["train"]))
        told(tuning.cost.text())
        if only_plan:
            return Outcome({"rows": counts, "dropped": found.dropped, **asdict(tuning.cost)})
        _refuse_other(request.out, key=tuning.key)
        before = _asked(tuning, lm, work / "start", "before")
        del lm  # its memory is needed
        if not (request.out / INFO).is_file():
            _train(tuning, work)
        after = _asked(tuning, load(request.out), request.out, "after")
    values = _values(tuning, files, before, after)
    values["seconds"] = round(time.monotonic() - started, 1)
    write_json(request.out / "tune.json", values)
    about = card(values, settings=tuning.settings, parameters=tuning.parameters)
    write_text(request.out / "README.md", about)
    return Outcome(values, _write_answers(request.out, tuning.asked, before, after))


def _refuse_other(out: Path, *, key: str | None = None) -> None:
    """A folder that holds something else is left alone."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    info = read_json(out / INFO) if (out / INFO).is_file() else {}
    if "tuned" not in info or (key is not None and info["tuned"] != key):
        other = "a model tuned otherwise" if "tuned" in info else "something else"
        raise UserError(f"--out {out} holds {other}; name a new folder, or remove it")


def _load(request: Request, told: Told, start: Path) -> LanguageModel:
    """The model to begin with, in the folder `start` as well, with a chat format."""
    name = request.model
    source = registered_folder(name) if name.startswith("models:/") else checkpoint_folder(name)
    lm = load(source, chat_format=request.chat_format)
    chosen = request.chat_format is not None
    if not lm.tokenizer.chat_template:
        lm.tokenizer.chat_template, chosen = chat_template(DEFAULT_FORMAT), True
        told(f"{name} has no chat format and learns `{DEFAULT_FORMAT}`; --chat-format says another")
    start.mkdir()
    adapter = (source / "adapter_config.json").is_file()
    if adapter:
        lm.model.save_pretrained(start)  # merged with its base
    for path in () if adapter else _matching(source, WEIGHTS):
        (start / path.name).symlink_to(path.resolve())
    if chosen or adapter or not (source / "tokenizer.json").is_file():
        save_tokenizer(lm.tokenizer, start)
    else:  # the same bytes, by which models of one project are known
        copy_tokenizer(source, start)
    return lm


def _matching(folder: Path, patterns: Sequence[str]) -> list[Path]:
    return [path for pattern in patterns for path in sorted(folder.glob(pattern))]


def _prepare(request: Request, lm: LanguageModel, found: TuningRows, work: Path) -> Tuning:
    """Choose the rows and the settings, and write both into `work`."""
    overrides = request.all_overrides
    of_user = {override.partition("=")[0].strip() for override in overrides}
    longest = {} if "max_tokens" in of_user else {"max_tokens": min(MOST_TOKENS, lm.max_length)}
    chosen: dict[str, Any] = {**longest}
    first = settings(overrides, chosen=chosen)
    if first.max_tokens > lm.max_length:
        raise UserError(f"max_tokens = {first.max_tokens}: the model holds {lm.max_length} tokens")
    encode = chat_encoder(work / "start")
    if request.project is not None:
        rules = request.project.corpus.contamination
        drop_contaminated_rows(found.rows, Contamination(evaluation_items(request.project), rules))
    prepare(found, encode, first, sized="heldout_rows" not in of_user)
    (work / "rows").mkdir()
    for split in ("train", "heldout"):
        write_rows(rows_file(work / "rows", PHASE, split), found.of(split))
    learned = found.of("train")
    # A file may be sorted, by labels say; the order of the ids, which are hashes, is not.
    heldout = sorted(found.of("heldout"), key=lambda row: row.id)
    shape, machine, free = shape_from(lm.model.config, first.lora), this_machine(), free_memory()

    def of_method(method: Literal["full", "lora"]) -> tuple[TuneParams, Cost]:
        by_size = sized(
            method=method,
            parameters=shape.parameters,
            max_length=lm.max_length,
            num_rows=len(learned),
            longest_row=max(len(row.input_ids) for row in learned),
            longest_answer=max(len(row.input_ids) - row.answer_start for row in learned),
        )
        params = settings(overrides, chosen={**longest, "heldout_rows": len(heldout), **by_size})
        cost = cost_at(params)
        if "asked_rows" not in of_user and cost.answer_share > MOST_ANSWERS:
            number = len(heldout[: params.asked_rows]) * MOST_ANSWERS / cost.answer_share
            params = params.model_copy(update={"asked_rows": max(LEAST_ASKED, int(number))})
            cost = cost_at(params)
        return params, cost

    def cost_at(params: TuneParams) -> Cost:
        asked = heldout[: params.asked_rows]
        rows: dict[str, Any] = {"learned": learned, "asked": asked, "free_bytes": free}
        return cost_of(params, shape, machine, **rows)

    params, cost = of_method("lora" if first.method == "lora" else "full")
    if "method" not in of_user and cost.memory_bytes > MEMORY_SHARE * free:
        params, cost = of_method("lora")
    parts = f"{params.model_dump_json()}:{content_digest([work / 'start', work / 'rows'])}"
    asked = heldout[: params.asked_rows]
    return Tuning(
        request=request,
        settings=params,
        rows=found,
        asked=asked,
        baselines=asking.baselines(work / "rows", asked),
        cost=cost,
        parameters=shape.parameters,
        key=sha256(parts.encode()).hexdigest()[:16],
    )


def _asked(tuning: Tuning, lm: LanguageModel, folder: Path, desc: str) -> Answers:
    return asking.ask(lm, folder, tuning.asked, tuning.settings, desc=desc)


def _train(tuning: Tuning, work: Path) -> None:
    """Train here, or in a process for each GPU."""
    request = tuning.request
    job = {
        "settings": tuning.settings.model_dump(mode="json"),
        "out": str(request.out.resolve()),
        "description": {
            "kind": "tuned",
            "base": request.model,
            "generation": tuning.settings.generation.model_dump(),
            "tuned": tuning.key,
        },
    }
    write_json(work / JOB, job)
    if not launch_ranks(["tune-rank", str(work)], ranks_on_cpu=1):
        train_rank(work)


def train_rank(work: Path) -> None:
    """The training of one rank, as the folder `work` describes it."""
    job = read_json(work / JOB)
    params, out = TuneParams.model_validate(job["settings"]), Path(job["out"])
    start, rows = work / "start", work / "rows"
    learn_answers(
        StageRun(f"tune-{out.name}", params, params.seed, (start, rows), out, out / RECORD),
        params,
        PHASE,
        model=start,
        rows=rows,
        description=job["description"],
    )


def _values(
    tuning: Tuning, files: Sequence[Path], before: Answers, after: Answers
) -> dict[str, Any]:
    """What `--json` prints, but for the seconds."""
    asked, params, out = tuning.asked, tuning.settings, tuning.request.out
    record = read_json(out / RECORD) if (out / RECORD).is_file() else {}
    return {
        "before": {**asking.numbers(asked, before), "loss": record.get("eval_loss_before")},
        "after": {**asking.numbers(asked, after), "loss": record.get("eval_loss")},
        "difference": asking.difference(asked, before, after, seed=params.seed),
        **tuning.baselines,
        "rows": tuning.rows.counts,
        "dropped": tuning.rows.dropped,
        "model": str(out),
        "base": tuning.request.model,
        "data": {file.name: file_digest(file) for file in files},
        "settings": params.model_dump(mode="json"),
    }


def _write_answers(
    out: Path, asked: Sequence[Row], before: Answers, after: Answers
) -> list[dict[str, str]]:
    """All answers go into a file beside the model, which may be published; a few are returned."""
    rows = [
        {"prompt": row.prompt, "expected": row.answer, "before": first, "after": last}
        for row, first, last in zip(asked, before.texts, after.texts, strict=True)
    ]
    write_text(out.with_name(f"{out.name}.answers.jsonl"), json_lines(rows))
    return rows[:SAMPLES]
