"""The tables of the report, once: the HTML page and the Markdown file show the same cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from diffutron.config.names import MODEL_NAMES, TASK_NAMES, task_name
from diffutron.pages import format
from diffutron.paper import published
from diffutron.reporting.inputs import EARLIER, Inputs
from diffutron.reporting.summary import Summary, TaskScore
from diffutron.runtime.tables import flatten, markdown_table

BANDS = ["0-.1", ".1-.3", ".3-.6", ".6-1"]
TEXTS = {
    "hub": "Bilkent Turkish Writings, the set of the published claim",
    "local": "texts of the local folder, another set than the published one",
    "sample": "generated sentences of the built-in sample, another set than the published one",
}
BASELINES = {"unigram": "unigram model", "bigram": "bigram", "five_gram": "5-gram"}
ANSWER_BASELINES = {
    "constant": "best constant answer",
    "majority_per_source": "majority per source",
    "bag_of_words": "bag of words",
}
SIGNIFICANT = 0.001
CHANCE_LIKE = 0.05


@dataclass(frozen=True)
class Cell:
    """One value, what qualifies it (an interval, a p-value), and how it is to be read."""

    text: str
    notes: tuple[str, ...] = ()
    tone: str = ""  # "", good, weak, published, missing


@dataclass(frozen=True)
class Table:
    title: str
    columns: list[str]
    rows: list[list[Cell]]
    notes: list[str] = field(default_factory=list)


def cell(text: str, *notes: str, tone: str = "") -> Cell:
    """A cell; empty notes are left out, and a value that was not measured is marked."""
    kept = tuple(note for note in notes if note)
    return Cell(text, kept, "missing" if text == format.NOT_MEASURED else tone)


def stage_table(inputs: Inputs, outputs: dict[str, dict[str, str]]) -> Table:
    """A row a stage: time, share, device and the hashes of what it made."""
    total = sum(values.get("seconds") or 0.0 for values in inputs.metrics.values())
    rows = []
    for stage in EARLIER:
        values = inputs.metrics.get(stage, {})
        seconds = values.get("seconds")
        share = f"{100 * seconds / total:.0f} %" if seconds is not None and total else ""
        hashes = [f"{path} {md5[:10]}" for path, md5 in outputs.get(stage, {}).items()]
        made = next((text for text in hashes if not text.startswith("metrics/")), "")
        device = values.get("device") or ""
        rows.append([Cell(stage), cell(format.duration(seconds), share), Cell(device), Cell(made)])
    rows.append([Cell("together"), Cell(format.duration(total)), Cell(""), Cell("")])
    return Table(
        "Stages",
        ["stage", "time", "device", "output and its hash in dvc.lock"],
        rows,
        []
        if outputs
        else ["No dvc.lock: the stages were run without DVC, so no hash is recorded."],
    )


def said(text: str, value: float | None) -> str:
    """The text with a value in it, empty where there is none; `%` in a format takes a share."""
    return "" if value is None else text.format(value).replace("%", " %")


def training_table(metrics: dict[str, dict[str, Any]]) -> Table:
    """What each training did and how well it used the machine."""
    rows = []
    for stage, values in metrics.items():
        if "tokens_per_s" not in values:
            continue
        objective = str(values.get("objective") or "").replace("_", " ")
        named = values.get("is_bound", True) or "bound" in objective
        parameters, steps, tokens, speed = (
            format.count(values.get(key))
            for key in ("parameters", "steps", "tokens", "tokens_per_s")
        )
        ranks = values.get("world_size")
        loss = format.decimal(values.get("eval_loss"))
        measured = str(values.get("eval_objective") or objective)
        rows.append(
            [
                Cell(stage),
                cell(objective, "" if named else "not a likelihood bound"),
                cell(parameters, said("{:.2%} learn", values.get("trainable_share"))),
                cell(steps, said("{} rank" if ranks == 1 else "{} ranks", ranks)),
                cell(tokens),
                cell(speed, said("{:.0%} of the peak", values.get("peak_share"))),
                cell(
                    loss,
                    said("before: {:.3f}", values.get("eval_loss_before")),
                    "" if measured == objective else measured,
                ),
            ]
        )
    columns = ["stage", "objective", "parameters", "steps", "tokens", "tokens a second"]
    note = (
        f"Published: {100 * published.TRAINABLE_SHARE:.2f} % of base and adapter learn in the "
        "pre-training (LoRA rank 256 on mmBERT-base)."
    )
    return Table("Training", [*columns, "held-out loss"], rows, [note] if rows else [])


def language_table(summary: Summary, inputs: Inputs) -> Table:
    """Bits per byte, NELBO and masked-token perplexity; lower is better in each column."""
    bands = bands_of([scores.perplexity for scores in summary.models.values()])
    empty = [Cell("") for _ in range(1 + len(bands))]
    rows = [
        [Cell(name), cell(format.decimal(inputs.measured(key))), *empty]
        for key, name in BASELINES.items()
    ]
    for model, name in MODEL_NAMES.items():
        scores = summary.models[model]
        error = inputs.measured("models", model, "bits_per_byte_stderr")
        rows.append(
            [
                Cell(name),
                cell(format.decimal(scores.bits_per_byte), said("s.e. {:.3f}", error)),
                cell(format.decimal(scores.nelbo)),
                *(cell(format.decimal(scores.perplexity.get(b), digits=2)) for b in bands),
            ]
        )
    columns = ["model", "bits per byte", "NELBO, nats a token", *(f"mask rate {b}" for b in bands)]
    difference = inputs.measured("merged_below_base", "difference")
    p_value = format.p_value(inputs.measured("merged_below_base", "p_value"))
    gain = said("{:+.4f} bits per byte, " + (p_value or "p not measured"), difference)
    notes = [
        "The last four columns are masked-token perplexities on the same held-out text, by the "
        "share of tokens that is hidden.",
        f"Pre-training against the backbone, paired over documents: {gain or format.NOT_MEASURED}.",
        f"Unigram model, bigram and 5-gram (modified Kneser-Ney) count {_counted(inputs)} and read "
        "the same documents.",
    ]
    return Table("Held-out text", columns, rows, notes)


def _counted(inputs: Inputs) -> str:
    """What the n-gram models were counted on; a large corpus is counted in part."""
    counted = inputs.measured("baseline_tokens") or {}
    part, whole = counted.get("five_gram"), counted.get("unigram")
    if part is None or whole is None:
        return "tokens of the training split"
    if part == whole:
        return f"the {format.count(whole)} tokens of the training split"
    return f"{format.count(part)} of the {format.count(whole)} tokens of the training split"


def bands_of(perplexities: Sequence[Mapping[str, Any]]) -> list[str]:
    """The mask-rate bands that were measured, in their order."""
    return next((list(values) for values in perplexities if values), BANDS)


def perplexity_table(inputs: Inputs, *, source: str) -> Table:
    """The published perplexity claim beside ours on the text set named for it."""
    path = ("perplexity_text", "perplexity")
    found = {m: inputs.measured("models", m, *path) or {} for m in MODEL_NAMES}
    bands = bands_of(list(found.values()))
    rows = [
        [
            Cell(name),
            Cell(""),
            cell(format.decimal(inputs.measured("perplexity_text", key))),
            *(Cell("") for _ in bands),
        ]
        for key, name in BASELINES.items()
    ]
    for model, name in MODEL_NAMES.items():
        bits = inputs.measured("models", model, "perplexity_text", "bits_per_byte")
        claim = Cell(said("{:.2f}", published.PERPLEXITY.get(model)), tone="published")
        ours = (cell(format.decimal(found[model].get(band), digits=2)) for band in bands)
        rows.append([Cell(name), claim, cell(format.decimal(bits)), *ours])
    columns = [
        "model",
        "published",
        "ours, bits per byte",
        *(f"ours, mask rate {band}" for band in bands),
    ]
    notes = [
        f"Ours: {TEXTS[source]}.",
        "Published: Bilkent Turkish Writings, protocol not published. Values this low suggest a "
        "masked-token perplexity at a low mask rate, so ours are given by mask rate.",
    ]
    return Table("Perplexity, beside the published claim", columns, rows, notes)


def candidate_lines(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Every number that a published perplexity may be, as Markdown: one column per model."""
    first = next(iter(found.values()))
    rows = [
        [
            f"masked token, {100 * float(rate):g} % masked",
            *(format.decimal(one["masked"][rate]) for one in found.values()),
        ]
        for rate in first["masked"]
    ]
    for kind, name in (("nelbo", "NELBO"), ("pseudo", "pseudo")):
        for unit in ("token", "word", "byte"):
            values = (format.decimal(one[kind][unit]) for one in found.values())
            rows.append([f"{name}, a {unit}", *values])
    base, merged = published.PERPLEXITY["base"], published.PERPLEXITY["merged"]
    return [
        f"{first['documents']} texts: {first['tokens']} tokens, {first['words']} words, "
        f"{first['bytes']} bytes (tokens of the first model)",
        "",
        *markdown_table(["perplexity", *found], rows).splitlines(),
        "",
        f"published, protocol not stated: {base} before pre-training, {merged} after",
    ]


def task_tables(summary: Summary) -> list[Table]:
    """Accuracy and length-normalized accuracy of the four models on each task."""
    columns = ["task", "chance", "best constant", *MODEL_NAMES.values()]
    rows, normalized = [], []
    for task in summary.tasks:
        label = task_name(task)
        scores = [summary.models[m].task(task) for m in MODEL_NAMES]
        known = next((one for one in scores if one != TaskScore()), TaskScore())
        known = [cell(format.percent(share)) for share in (known.chance, known.constant)]
        claims = (published.accuracy(model, task) for model in published.COLUMN)
        claims = [Cell(said("{:.2f}", claim), tone="published") for claim in claims]
        rows.append([Cell(label), *known, *map(_accuracy, scores), *claims])
        normalized.append(
            [Cell(label), *known, *(cell(format.percent(one.acc_norm)) for one in scores)]
        )
    note = (
        "Below each score: its 95 % Wilson interval, the exact one-sided binomial test against the "
        "better of chance and the best constant answer, and the number of items."
    )
    systems = [f"published: {published.SYSTEMS[k]}" for k in published.COLUMN.values()]
    return [
        Table("Accuracy x 100 (acc)", [*columns, *systems], rows, [note]),
        Table("Accuracy x 100, length-normalized (acc_norm)", columns, normalized),
    ]


def _accuracy(score: TaskScore) -> Cell:
    if score.acc is None:
        return cell(format.NOT_MEASURED)
    tone = ""
    if score.p_value is not None:
        weak = "weak" if score.p_value > CHANCE_LIKE else ""
        tone = "good" if score.p_value < SIGNIFICANT else weak
    items = f"n = {score.n}" if score.n is not None else ""
    test = ", ".join(part for part in (format.p_value(score.p_value), items) if part)
    return cell(format.percent(score.acc), format.interval(score.low, score.high), test, tone=tone)


def probe_table(inputs: Inputs) -> Table:
    """What a linear model reads off the frozen embeddings of each checkpoint."""
    found = inputs.measured("probe") or {}
    probed = {task: one for task, one in found.items() if one["models"]}
    rows = [
        [Cell("chance"), *(cell(format.percent(one["chance"])) for one in probed.values())],
        [
            Cell("bag of words"),
            *(cell(format.percent(one["bag_of_words"])) for one in probed.values()),
        ],
    ]
    for model, name in MODEL_NAMES.items():
        scores = [one["models"][model] for one in probed.values()]
        rows.append([Cell(name), *map(_probe_cell, scores)])
    columns = [f"{task_name(task)}, n = {one['n']}" for task, one in probed.items()]
    notes = [
        "Accuracy x 100 of logistic regression on the mean of the last hidden states, which stay "
        "as they are: the mean of five seeds, the 95 % bootstrap interval over items, and the "
        "paired difference from the backbone. It tells what the encoder still holds."
    ]
    notes += [
        f"{task_name(task)} is not probed: {one['reason']}."
        for task, one in found.items()
        if one["reason"]
    ]
    return Table("Probe of frozen embeddings", ["model", *columns], rows if probed else [], notes)


def _probe_cell(score: Mapping[str, Any]) -> Cell:
    against = score["against_base"]
    low, high = (f"{100 * against[key]:+.1f}" for key in ("low", "high"))
    difference = f"{100 * against['difference']:+.1f} ({low} to {high}) from the backbone"
    between = format.interval(score["low"], score["high"])
    return cell(format.percent(score["acc"]), between, difference if any(against.values()) else "")


def answer_table(summary: Summary, inputs: Inputs, *, source: str) -> Table:
    """Held-out instructions answered exactly, and what the generated text looks like."""
    rows = []
    for model, name in MODEL_NAMES.items():
        asked, made = summary.models[model].instructions, summary.models[model].generation
        found = inputs.measured("models", model, "instructions") or {}
        between = format.interval(found.get("low"), found.get("high"))
        items = f"{asked.correct} of {asked.n}" if asked.n is not None else ""
        test = ", ".join(filter(None, (format.p_value(found.get("p_value")), items)))
        rows.append(
            [
                Cell(name),
                cell(format.percent(asked.acc), between, test),
                *(cell(format.percent(found.get(key))) for key in ANSWER_BASELINES),
                *(cell(format.percent(v)) for v in (made.valid_words, made.empty)),
                *(cell(format.decimal(v)) for v in (made.distinct_2, made.repetition)),
            ]
        )
    beside = [f"{name}, %" for name in ANSWER_BASELINES.values()]
    columns = ["model", "answered exactly, %", *beside, "valid words, %"]
    by = "grammar of the built-in sample" if source == "sample" else "words of the training split"
    return Table(
        "Instructions and generated text",
        [*columns, "empty answers, %", "distinct word pairs", "repetition"],
        rows,
        [
            "The best constant answer is known from these rows, and p is the exact one-sided "
            "binomial test against it. Majority and bag of words learn from the training rows of "
            "a source.",
            f"A word is valid by the {by}. Distinct word pairs: different ones by all, over the "
            "answers together. Repetition: share of word pairs that stood in the answer before.",
        ],
    )


def calibration_table(inputs: Inputs) -> Table:
    """How far the probabilities of decisions are from how often they are right."""
    rows = []
    for kind, found in (inputs.measured("models", "phase2", "calibration") or {}).items():
        errors = [
            cell(format.decimal(one["ece"]), f"{one['low']:.3f} to {one['high']:.3f}")
            for one in (found["before"], found["after"])
        ]
        rows.append(
            [
                Cell("Evet or Hayır" if kind == "noul" else kind),
                Cell(format.count(found["rows"])),
                cell(format.percent(found["acc"]), f"chance {format.percent(found['chance'])}"),
                Cell(format.decimal(found["temperature"])),
                *errors,
                Cell(format.decimal(found["floor"])),
            ]
        )
    columns = ["kind of question", "questions", "right, %", "temperature"]
    errors = ["calibration error before", "after", "if exactly right"]
    note = (
        "Held-out instructions with known answers, asked as `diffutron decide` asks, of phase 2. "
        "Calibration error: the mean distance between probability and share right, over bins of "
        "as many rows; after: of rows that their temperature was not fitted on, with the 95 % "
        "bootstrap interval. If exactly right: the mean error that so few rows have anyway."
    )
    return Table("Decisions", [*columns, *errors], rows, [note] if rows else [])


def leaderboard_table() -> Table:
    """The published table as it is: no number in it is ours."""
    scores = {label: published.ACCURACY[task] for task, label in TASK_NAMES.items()}
    rows = [
        [Cell(label), *(Cell(f"{value:.2f}", tone="published") for value in values)]
        for label, values in {**scores, "Average": published.AVERAGE}.items()
    ]
    return Table("Published accuracy x 100", ["task", *published.SYSTEMS], rows)


def detail_tables(metrics: dict[str, dict[str, Any]]) -> list[Table]:
    """Every plain number that the stages before `evaluate` wrote, under its own name."""
    tables = []
    for stage, values in metrics.items():
        rows = [
            [Cell(key), cell(format.scalar(value))]
            for key, value in flatten(values).items()
            if stage != "evaluate" and not isinstance(value, list)
        ]
        if rows:
            tables.append(Table(stage, ["key", "value"], rows))
    return tables
