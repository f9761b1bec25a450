"""The tables of the report, once: the HTML page and the Markdown file show the same cells."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from diffutron.paper import published
from diffutron.reporting import format
from diffutron.reporting.inputs import EARLIER, Inputs

BANDS = ["0-.1", ".1-.3", ".3-.6", ".6-1"]
TEXTS = {
    "hub": "Bilkent Turkish Writings, the set of the published claim",
    "local": "texts of the local folder, another set than the published one",
    "sample": "generated sentences of the built-in sample, another set than the published one",
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


def training_table(metrics: dict[str, dict[str, Any]]) -> Table:
    """What each training did and how well it used the machine."""
    rows = []
    for stage, values in metrics.items():
        if "tokens_per_s" not in values:
            continue
        share, peak = values.get("trainable_share"), values.get("peak_share")
        objective = str(values.get("objective") or "").replace("_", " ")
        named = values.get("is_bound", True) or "bound" in objective
        bound = "" if named else "not a likelihood bound"
        rows.append(
            [
                Cell(stage),
                cell(objective, bound),
                cell(format.count(values.get("parameters")), _learning(share)),
                cell(format.count(values.get("steps")), _ranks(values)),
                cell(format.count(values.get("tokens"))),
                cell(format.count(values.get("tokens_per_s")), _peak(peak)),
                _losses(values),
            ]
        )
    columns = ["stage", "objective", "parameters", "steps", "tokens", "tokens a second"]
    note = (
        f"Published: {100 * published.TRAINABLE_SHARE:.2f} % of base and adapter learn in the "
        "pre-training (LoRA rank 256 on mmBERT-base)."
    )
    return Table("Training", [*columns, "held-out loss"], rows, [note] if rows else [])


def _learning(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f} % learn"


def _ranks(values: dict[str, Any]) -> str:
    ranks = values.get("world_size")
    return "" if ranks is None else f"{ranks} rank{'s' if ranks != 1 else ''}"


def _peak(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} % of the peak"


def _losses(values: dict[str, Any]) -> Cell:
    before, after = values.get("eval_loss_before"), values.get("eval_loss")
    note = "" if before is None else f"before: {before:.3f}"
    return cell(format.decimal(after), note)


def language_table(summary: dict[str, Any], evaluate: dict[str, Any]) -> Table:
    """Bits a byte, NELBO and masked-token perplexity; lower is better in each column."""
    found = [summary["models"][model]["perplexity"] for model in published.MODELS]
    bands = bands_of(found)
    empty = [Cell("") for _ in range(1 + len(bands))]
    unigram = evaluate.get("unigram_bits_per_byte")
    rows = [[Cell("unigram model"), cell(format.decimal(unigram)), *empty]]
    for model, name in published.MODEL_NAMES.items():
        values = summary["models"][model]
        shares = [cell(format.decimal(values["perplexity"].get(b), digits=2)) for b in bands]
        bits, nelbo = (format.decimal(values[key]) for key in ("bits_per_byte", "nelbo"))
        error = (evaluate.get("models", {}).get(model) or {}).get("bits_per_byte_stderr")
        spread = "" if error is None else f"s.e. {error:.3f}"
        rows.append([Cell(name), cell(bits, spread), cell(nelbo), *shares])
    columns = ["model", "bits a byte", "NELBO, nats a token", *(f"mask rate {b}" for b in bands)]
    notes = [
        "The last four columns are masked-token perplexities on the same held-out text, by the "
        "share of tokens that is hidden.",
        *merged_note(evaluate),
    ]
    return Table("Held-out text", columns, rows, notes)


def bands_of(perplexities: Sequence[dict[str, Any]]) -> list[str]:
    """The mask-rate bands that were measured, in their order."""
    return next((list(values) for values in perplexities if values), BANDS)


def merged_note(evaluate: dict[str, Any]) -> list[str]:
    test = evaluate.get("merged_below_base") or {}
    difference, p_value = test.get("difference"), test.get("p_value")
    if difference is None:
        return ["Pre-training against the backbone, paired over documents: not measured."]
    return [
        f"Pre-training against the backbone, paired over documents: {difference:+.4f} bits a byte, "
        f"{format.p_value(p_value) or 'p not measured'}."
    ]


def perplexity_table(evaluate: dict[str, Any], *, source: str) -> Table:
    """The published perplexity claim beside ours on the text set named for it."""
    found = {m: _text_perplexity(evaluate, m) for m in published.MODELS}
    bands = bands_of(list(found.values()))
    rows = []
    for model, name in published.MODEL_NAMES.items():
        values = found[model]
        claim = published.PERPLEXITY.get(model)
        rows.append(
            [
                Cell(name),
                Cell("" if claim is None else f"{claim:.2f}", tone="published"),
                *(cell(format.decimal(values.get(band), digits=2)) for band in bands),
            ]
        )
    columns = ["model", "published", *(f"ours, mask rate {band}" for band in bands)]
    notes = [
        f"Ours: {TEXTS[source]}.",
        "Published: Bilkent Turkish Writings, protocol not published. Values this low suggest a "
        "masked-token perplexity at a low mask rate, so ours are given by mask rate.",
    ]
    return Table("Perplexity, beside the published claim", columns, rows, notes)


def _text_perplexity(evaluate: dict[str, Any], model: str) -> dict[str, Any]:
    measured = evaluate.get("models", {}).get(model) or {}
    return (measured.get("perplexity_text") or {}).get("perplexity") or {}


def task_tables(summary: dict[str, Any]) -> list[Table]:
    """Accuracy and length-normalized accuracy of the four models on each task."""
    return [
        _task_table(summary, "acc", "Accuracy x 100 (acc)"),
        _task_table(summary, "acc_norm", "Accuracy x 100, length-normalized (acc_norm)"),
    ]


def _task_table(summary: dict[str, Any], key: str, title: str) -> Table:
    claims = [published.SYSTEMS[k] for k in published.COLUMN.values()] if key == "acc" else []
    columns = ["task", "chance", "best constant", *published.MODEL_NAMES.values()]
    rows = []
    for task, label in published.TASKS.items():
        scores = {m: summary["models"][m]["tasks"].get(task) or {} for m in published.MODELS}
        known = next((s for s in scores.values() if s), {})
        row = [Cell(label), *(cell(format.percent(known.get(k))) for k in ("chance", "constant"))]
        row += [_score(scores[m], key) for m in published.MODELS]
        for column in range(len(claims)):
            row.append(Cell(f"{published.ACCURACY[task][column]:.2f}", tone="published"))
        rows.append(row)
    notes = [
        "Below each score: its 95 % Wilson interval, the exact one-sided binomial test against the "
        "better of chance and the best constant answer, and the number of items."
    ]
    columns += [f"published: {name}" for name in claims]
    return Table(title, columns, rows, notes if key == "acc" else [])


def _score(score: dict[str, Any], key: str) -> Cell:
    value = score.get(key)
    if value is None:
        return cell(format.NOT_MEASURED)
    if key != "acc":
        return Cell(format.percent(value))
    p_value = score.get("p_value")
    tone = ""
    if p_value is not None:
        tone = "good" if p_value < SIGNIFICANT else "weak" if p_value > CHANCE_LIKE else ""
    items = f"n = {score['n']}" if score.get("n") is not None else ""
    test = ", ".join(part for part in (format.p_value(p_value), items) if part)
    bounds = format.interval(score.get("low"), score.get("high"))
    return cell(format.percent(value), bounds, test, tone=tone)


def answer_table(summary: dict[str, Any], evaluate: dict[str, Any], *, source: str) -> Table:
    """Held-out instructions answered exactly, and what the generated text looks like."""
    rows = []
    for model, name in published.MODEL_NAMES.items():
        asked, made = (summary["models"][model][k] for k in ("instructions", "generation"))
        found = (evaluate.get("models", {}).get(model) or {}).get("instructions") or {}
        bounds = format.interval(found.get("low"), found.get("high"))
        items = f"{asked['correct']} of {asked['n']}" if asked["n"] is not None else ""
        shares = [cell(format.percent(made[k])) for k in ("valid_words", "empty")]
        others = [cell(format.decimal(made[k])) for k in ("distinct_2", "repetition")]
        exact = cell(format.percent(asked["acc"]), bounds, items)
        constant = cell(format.percent(found.get("constant")))
        rows.append([Cell(name), exact, constant, *shares, *others])
    columns = ["model", "answered exactly, %", "best constant answer, %", "valid words, %"]
    by = "grammar of the built-in sample" if source == "sample" else "words of the training split"
    return Table(
        "Instructions and generated text",
        [*columns, "empty answers, %", "distinct word pairs", "repetition"],
        rows,
        [
            f"A word is valid by the {by}. Distinct word pairs: different ones by all, over the "
            "answers together. Repetition: share of word pairs that stood in the answer before."
        ],
    )


def leaderboard_table() -> Table:
    """The published table as it is: no number in it is ours."""
    rows = [
        [Cell(label), *(Cell(f"{v:.2f}", tone="published") for v in published.ACCURACY[task])]
        for task, label in published.TASKS.items()
    ]
    rows.append([Cell("Average"), *(Cell(f"{v:.2f}", tone="published") for v in published.AVERAGE)])
    return Table("Published accuracy x 100", ["task", *published.SYSTEMS], rows)


def detail_tables(metrics: dict[str, dict[str, Any]]) -> list[Table]:
    """Every plain number that the stages before `evaluate` wrote, under its own name."""
    tables = []
    for stage, values in metrics.items():
        flat = [(key, value) for key, value in flatten(values) if stage != "evaluate"]
        rows = [[Cell(key), cell(format.scalar(value))] for key, value in flat]
        if rows:
            tables.append(Table(stage, ["key", "value"], rows))
    return tables


def flatten(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested mappings as `a.b.c` keys; lists are left out."""
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            found += flatten(value, f"{name}.")
        elif not isinstance(value, Sequence) or isinstance(value, str):
            found.append((name, value))
    return found
