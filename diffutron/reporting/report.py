"""Stage `report`: one self-contained page, the same as text, and the summary of the numbers."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from diffutron.config.names import MODEL_NAMES, MODELS, task_name
from diffutron.config.params import Params
from diffutron.pages import charts, format
from diffutron.pages.render import render
from diffutron.paper import published
from diffutron.paper.caveats import caveats
from diffutron.reporting import tables
from diffutron.reporting.data_tables import data_tables
from diffutron.reporting.denoising.trace import read_trace
from diffutron.reporting.headline import headline_figures, tiles, verdict
from diffutron.reporting.inputs import Curve, Inputs, read_inputs
from diffutron.reporting.origin import origin_facts
from diffutron.reporting.summary import Summary, TaskScore, build_summary
from diffutron.runtime.files import atomic_folder, write_json, write_text
from diffutron.runtime.provenance import stage_outputs

SHOWN_ANSWERS = 3


def report(
    params: Params,
    *,
    metrics_dir: Path,
    evaluation: Path,
    corpus: Path,
    instructions: Path,
    out: Path,
    summary: Path,
    full: Path,
) -> None:
    """Write `report.html` and `report.md` into `out`, and the numbers.

    Args:
        summary: the file of the headline figures, which `dvc metrics` shows.
        full: the file of all numbers, which gate, registry and comparisons read.

    Errors: a missing `metrics/evaluate.json`, or a damaged file, is a `UserError` that names it.
    """
    inputs = read_inputs(
        metrics_dir=metrics_dir, evaluation=evaluation, corpus=corpus, instructions=instructions
    )
    numbers = build_summary(inputs, profile=params.profile)
    view = build_view(params, inputs, numbers)
    with atomic_folder(out) as folder:
        for name in ("report.html", "report.md"):
            text = render(f"{name}.jinja", view, package="diffutron.reporting")
            write_text(folder / name, text)
        write_json(summary, headline_figures(numbers, inputs))
        write_json(full, asdict(numbers))


def build_view(params: Params, inputs: Inputs, summary: Summary) -> dict[str, Any]:
    """Everything both templates show, in words and coordinates."""
    evaluate = params.evaluate
    return {
        "title": params.report.title,
        "profile": params.profile,
        "verdict": verdict(summary, inputs),
        "tiles": tiles(summary, inputs),
        "names": MODEL_NAMES,
        "traces": [read_trace(trace) for trace in inputs.traces],
        "answers": shown_answers(inputs.answers.get("phase2", [])),
        "caveats": caveats(params),
        "provenance": origin_facts(params),
        "tasks": tables.task_tables(summary),
        "leaderboard": tables.leaderboard_table(),
        "probe": tables.probe_table(inputs),
        "answers_table": tables.answer_table(summary, inputs, source=params.corpus.source),
        "decisions": tables.calibration_table(inputs),
        "language": tables.language_table(summary, inputs),
        "perplexity": tables.perplexity_table(inputs, source=evaluate.perplexity_text.source),
        "training": tables.training_table(inputs.metrics),
        "details": tables.detail_tables(inputs.metrics),
        "data": data_tables(inputs, source=evaluate.source),
        "stages": tables.stage_table(inputs, stage_outputs()),
        **_figures(inputs, summary),
    }


def _figures(inputs: Inputs, summary: Summary) -> dict[str, Any]:
    bits = [("faint", name, inputs.measured(key)) for key, name in tables.BASELINES.items()]
    bits += [(m, name, summary.models[m].bits_per_byte) for m, name in MODEL_NAMES.items()]
    curves = {stage: curve for stage, curve in inputs.curves.items() if curve.train}
    seconds = [(stage, s) for stage, s in summary.seconds.items() if s is not None]
    return {
        "accuracies": charts.accuracies(accuracy_rows(summary), MODELS),
        "bits": charts.bars(
            [
                charts.Bar(label, value, f"{value:.3f}", tone)
                for tone, label, value in bits
                if value is not None
            ]
        ),
        "curves": {s: charts.curve(curve.train, curve.held_out) for s, curve in curves.items()},
        "curve_lines": [(stage, curve_line(curve)) for stage, curve in curves.items()],
        "strip": charts.strip(seconds),
    }


def accuracy_rows(summary: Summary) -> list[dict[str, Any]]:
    """What the accuracy figure draws: one row per task that at least one model was scored on."""
    rows = []
    for task in summary.tasks:
        found = {model: summary.models[model].task(task) for model in MODELS}
        found = {model: score for model, score in found.items() if score.acc is not None}
        known = next(iter(found.values()), TaskScore())
        rows.append(
            {
                "label": task_name(task),
                "scores": {m: (score.acc, score.low, score.high) for m, score in found.items()},
                "published": {model: published.accuracy(model, task) for model in found},
                "chance": known.chance,
                "constant": known.constant,
            }
        )
    return rows


def curve_line(curve: Curve) -> str:
    """A loss curve in one sentence."""
    smooth = [value for _, value in charts.bucket_means(curve.train, charts.SMOOTH_POINTS)]
    steps = format.count(curve.train[-1][0])
    text = f"{steps} steps, training loss {smooth[0]:.3f} -> {smooth[-1]:.3f}"
    if curve.held_out:
        text += f", held-out loss {curve.held_out[0][1]:.3f} -> {curve.held_out[-1][1]:.3f}"
    return text


def shown_answers(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first right and the first wrong answers, in the order of the file: nothing is chosen."""
    right = [answer for answer in answers if answer["correct"]][:SHOWN_ANSWERS]
    wrong = [answer for answer in answers if not answer["correct"]][:SHOWN_ANSWERS]
    return [*right, *wrong]
