"""Stage `report`: one self-contained page, the same as text, and the summary of the numbers."""

from pathlib import Path
from typing import Any

from diffutron.config.params import Params
from diffutron.paper import published
from diffutron.paper.caveats import caveats
from diffutron.reporting import charts, format, tables
from diffutron.reporting.data_tables import data_tables
from diffutron.reporting.denoising.trace import read_traces
from diffutron.reporting.headline import tiles, verdict
from diffutron.reporting.inputs import Inputs, Point, read_inputs
from diffutron.reporting.origin import provenance
from diffutron.reporting.summary import build_summary
from diffutron.runtime.files import atomic_folder, write_json, write_text

SHOWN_ANSWERS = 3
SECTIONS = (
    ("denoising", "Denoising"),
    ("tasks", "Tasks"),
    ("instructions", "Instructions"),
    ("language", "Held-out text"),
    ("training", "Training"),
    ("limits", "Limits"),
    ("data", "Data"),
    ("provenance", "Provenance and cost"),
)


def report(
    params: Params,
    *,
    metrics_dir: Path,
    evaluation: Path,
    corpus: Path,
    instructions: Path,
    out: Path,
    summary: Path,
) -> None:
    """Write `report.html` and `report.md` into `out`, and the summary of the numbers.

    Errors: a missing `metrics/evaluate.json`, or a damaged file, is a `UserError` that names it.
    """
    inputs = read_inputs(
        metrics_dir=metrics_dir, evaluation=evaluation, corpus=corpus, instructions=instructions
    )
    numbers = build_summary(inputs, profile=params.profile)
    view = build_view(params, inputs, numbers)
    with atomic_folder(out) as folder:
        write_text(folder / "report.html", render("report.html.jinja", view))
        write_text(folder / "report.md", render("report.md.jinja", view))
        write_json(summary, numbers)


def render(template: str, view: dict[str, Any]) -> str:
    """Fill a template; values are escaped in the page and left as they are in the text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("diffutron.reporting"),
        autoescape=select_autoescape(enabled_extensions=("html.jinja", "charts.jinja")),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["bar"] = lambda text: text.replace("|", "\\|")
    environment.filters["quote"] = lambda text: "\n".join(f"> {line}" for line in text.split("\n"))
    return environment.get_template(template).render(view)


def build_view(params: Params, inputs: Inputs, summary: dict[str, Any]) -> dict[str, Any]:
    """Everything both templates show, in words and coordinates."""
    origin = provenance(params)
    return {
        "title": params.report.title,
        "profile": params.profile,
        "verdict": verdict(summary, inputs.evaluate),
        "tiles": tiles(summary, inputs.evaluate),
        "sections": SECTIONS,
        "names": published.MODEL_NAMES,
        "traces": read_traces(inputs.traces),
        "answers": shown_answers(inputs.answers.get("phase2", [])),
        "caveats": caveats(params),
        "provenance": origin.facts,
        **_tables(params, inputs, summary),
        "stages": tables.stage_table(inputs, origin.outputs),
        **_figures(inputs, summary),
    }


def _tables(params: Params, inputs: Inputs, summary: dict[str, Any]) -> dict[str, Any]:
    measured, text = inputs.evaluate, params.evaluate.perplexity_text
    return {
        "tasks": tables.task_tables(summary),
        "leaderboard": tables.leaderboard_table(),
        "answers_table": tables.answer_table(summary, measured, source=params.corpus.source),
        "language": tables.language_table(summary, measured),
        "perplexity": tables.perplexity_table(measured, source=text.source),
        "training": tables.training_table(inputs.metrics),
        "details": tables.detail_tables(inputs.metrics),
        "data": data_tables(inputs.cards, measured, source=params.evaluate.source),
    }


def _figures(inputs: Inputs, summary: dict[str, Any]) -> dict[str, Any]:
    bits = [(n, summary["models"][m]["bits_per_byte"]) for m, n in published.MODEL_NAMES.items()]
    unigram = inputs.evaluate.get("unigram_bits_per_byte")
    curves = {stage: charts.curve(points) for stage, points in inputs.curves.items()}
    seconds = [(stage, s) for stage, s in summary["seconds"].items() if s is not None]
    return {
        "accuracies": charts.accuracies(accuracy_rows(summary), published.MODELS),
        "bits": charts.bars([("unigram model", unigram), *bits]),
        "curves": {stage: curve for stage, curve in curves.items() if curve},
        "curve_lines": [(s, curve_line(p)) for s, p in inputs.curves.items() if curves[s]],
        "strip": charts.strip(seconds),
    }


def accuracy_rows(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """What the accuracy figure draws: a row a task that at least one model was scored on."""
    rows = []
    for task, label in published.TASKS.items():
        found = {m: summary["models"][m]["tasks"].get(task) or {} for m in published.MODELS}
        scores = {m: s for m, s in found.items() if s.get("acc") is not None}
        known = next(iter(scores.values()), {})
        claims = {m: published.accuracy(m, task) for m in scores}
        references = {key: known.get(key) for key in ("chance", "constant")}
        rows.append({"label": label, "scores": scores, "published": claims, **references})
    return rows


def curve_line(points: list[Point]) -> str:
    """A loss curve in one sentence."""
    train = [(p.step, p.loss) for p in points if p.loss is not None]
    held_out = [(p.step, p.eval_loss) for p in points if p.eval_loss is not None]
    smooth = [value for _, value in charts.bucket_means(train, charts.SMOOTH_POINTS)]
    text = f"{format.count(train[-1][0])} steps, training loss {smooth[0]:.3f} -> {smooth[-1]:.3f}"
    if held_out:
        text += f", held-out loss {held_out[0][1]:.3f} -> {held_out[-1][1]:.3f}"
    return text


def shown_answers(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first right and the first wrong answers, in the order of the file: nothing is chosen."""
    right = [answer for answer in answers if answer["correct"]][:SHOWN_ANSWERS]
    wrong = [answer for answer in answers if not answer["correct"]][:SHOWN_ANSWERS]
    return [*right, *wrong]
