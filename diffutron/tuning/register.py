"""A tuned model and the gate: it is judged as phase 2 of the project that one stands in."""

import shutil
from pathlib import Path
from typing import Any

from diffutron.config.params import STAGES, Params, load_params
from diffutron.config.training_params import NO_REPLAY, InstructParams, PhaseParams
from diffutron.evaluation.evaluate import MADE_BY, evaluate
from diffutron.registry.register import register
from diffutron.reporting.report import report
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import read_json
from diffutron.tuning.tune import RECORD

FOLDERS = {
    "base": Path("models/backbone"),
    "merged": Path("models/merged"),
    "phase1": Path("models/phase1"),
    "phase2": Path("models/phase2"),
}
CORPUS, INSTRUCTIONS, METRICS = Path("data/corpus"), Path("data/instructions"), Path("metrics")


def project_params() -> Params:
    """The parameters of the project that one stands in.

    Raises:
        UserError: there is none, or it was not built up to phase 1.
    """
    needed = [FOLDERS[name] for name in MADE_BY if name != "phase2"]
    missing = [str(path) for path in (*needed, CORPUS, INSTRUCTIONS, METRICS) if not path.is_dir()]
    if missing:
        raise UserError(
            f"--register puts the model through the gate of a project that was built, and here is "
            f"no {', no '.join(missing)}; change to its folder, or run `diffutron build` first"
        )
    return load_params()


def register_tuned(model: Path, values: dict[str, Any], params: Params) -> dict[str, Any]:
    """Evaluate the model on the project's tasks and texts, and register it where the gate holds.

    The evidence is written beside the model. Returns what the stage `register` says of it.
    """
    work = model.with_name(f"{model.name}.registration")
    metrics = _metrics(model, work / "metrics")
    settings = {name: values["settings"][name] for name in InstructParams.model_fields}
    phase = PhaseParams.model_validate(settings | {"replay": NO_REPLAY})
    params = params.model_copy(update={"instruct_phase2": phase})
    made: dict[str, Path] = {"evaluation": work / "evaluation"}
    texts = {"corpus": CORPUS, "instructions": INSTRUCTIONS}
    full, out = metrics / "full.json", work / "registered.json"
    folders = FOLDERS | {"phase2": model}
    evaluate(params, folders, **texts, out=made["evaluation"], metrics=metrics / "evaluate.json")
    pages = {"out": work / "report", "summary": metrics / "summary.json", "full": full}
    report(params, **texts, **made, metrics_dir=metrics, **pages)
    register(
        params,
        **made,
        model=model,
        report=work / "report",
        metrics_dir=metrics,
        full=full,
        out=out,
        tags={"tuned_from": values["base"], "tuned_on": ", ".join(values["data"])},
    )
    return read_json(out)


def _metrics(model: Path, folder: Path) -> Path:
    """The metrics of the project's stages up to phase 1, and of this training as phase 2."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for stage in STAGES[: STAGES.index("instruct_phase2")]:
        for path in (METRICS / f"{stage}.json", METRICS / f"{stage}.csv"):
            if path.exists():
                shutil.copyfile(path, folder / path.name)
    for ending in (".json", ".csv"):
        path = (model / RECORD).with_suffix(ending)
        shutil.copyfile(path, folder / f"instruct_phase2{ending}")
    return folder
