"""A finished build in a temporary folder, and an MLflow store of its own."""

import json
import shutil
from pathlib import Path

import pytest

from diffutron.config.section import TASKS
from tests.support.store import STORE, new_store

BASELINES = {"unigram": 1.7, "bigram": 0.9, "five_gram": 0.67}


def model_numbers(*, p_value: float, acc: float, bits: float) -> dict:
    task = {
        "n": 200,
        "correct": round(200 * acc),
        "acc": acc,
        "acc_norm": acc,
        "low": acc - 0.05,
        "high": acc + 0.05,
        "chance": 0.25,
        "constant": 0.26,
        "p_value": p_value,
    }
    return {
        "bits_per_byte": bits,
        "nelbo": 3 * bits,
        "perplexity": {"0-.1": 1.5, ".1-.3": 2.5, ".3-.6": 4.0, ".6-1": 9.0},
        "tasks": {name: dict(task) for name in TASKS},
        "instructions": {"n": 300, "correct": 225, "acc": 0.75},
        "generation": {"valid_words": 0.98, "distinct_2": 0.7, "repetition": 0.01, "empty": 0.0},
    }


def good_summary() -> dict:
    """Numbers that the demo's gate lets through."""
    return {
        "profile": "demo",
        "models": {
            "base": model_numbers(p_value=0.5, acc=0.25, bits=0.6),
            "merged": model_numbers(p_value=0.5, acc=0.25, bits=0.55),
            "phase1": model_numbers(p_value=1e-6, acc=0.6, bits=0.6),
            "phase2": model_numbers(p_value=1e-9, acc=0.7, bits=0.65),
        },
        "seconds": {"backbone": 100.0, "evaluate": 60.0},
        "device": "cpu",
    }


@pytest.fixture
def summary() -> dict:
    return good_summary()


def write_items(folder: Path, *, share: dict) -> None:
    """200 answered items a task, the first ones right."""
    folder.mkdir(parents=True)
    for task, score in share.items():
        right = round(200 * (score["acc"] or 0))
        rows = [json.dumps({"row": row, "correct": row < right}) for row in range(200)]
        (folder / f"items_phase2_{task}.jsonl").write_text("\n".join(rows), encoding="utf-8")


def write_build(folder: Path, summary: dict, model: Path) -> dict[str, Path]:
    """The files of a finished build; returns the paths that `register` takes."""
    metrics, report = folder / "metrics", folder / "report"
    metrics.mkdir(parents=True)
    report.mkdir()
    shutil.copytree(model, folder / "models/phase2")
    settings = {"max_new_tokens": 8, "num_steps": 4, "block_length": 8, "temperature": 0.0}
    described = json.dumps({"kind": "instruct", "generation": settings})
    (folder / "models/phase2/diffutron.json").write_text(described, encoding="utf-8")
    (metrics / "full.json").write_text(json.dumps(summary), encoding="utf-8")
    sets = {task: {"digest": f"digest of {task}"} for task in TASKS}
    evaluate = {**BASELINES, "seconds": 60.0, "models": {}, "sets": sets}
    (metrics / "evaluate.json").write_text(json.dumps(evaluate), encoding="utf-8")
    corpus = {"documents": {"read": 900, "train": 800, "heldout": 97}, "seconds": 2.0}
    corpus |= {"tokens": {"train": 12345, "heldout": 678}}
    corpus |= {"dropped": {"duplicate": 2, "contaminated": 1}}
    (metrics / "corpus.json").write_text(json.dumps(corpus), encoding="utf-8")
    rows = {"read": 50, "train": 40, "heldout": 9}
    phase = {"rows": rows, "dropped": {"duplicate": 1, "contaminated": 0}}
    instructions = {"phase1": phase, "phase2": phase, "seconds": 1.0}
    (metrics / "instructions.json").write_text(json.dumps(instructions), encoding="utf-8")
    (metrics / "backbone.json").write_text('{"seconds": 100.0, "device": "cpu"}', encoding="utf-8")
    curve = "step,loss,learning_rate,eval_loss\n1,5.0,0.001,\n2,4.0,0.002,4.5\n"
    (metrics / "backbone.csv").write_text(curve, encoding="utf-8")
    write_items(folder / "data/evaluation", share=summary["models"]["phase2"]["tasks"])
    (report / "report.html").write_text("<p>report</p>", encoding="utf-8")
    outputs = "".join(
        f"  {stage}:\n    cmd: x\n    outs:\n    - path: {path}\n      md5: {md5}\n"
        for stage, path, md5 in [("corpus", "data/corpus", "c0ffee.dir"), ("merge", "m", "beef")]
    )
    (folder / "dvc.lock").write_text(f"schema: '2.0'\nstages:\n{outputs}", encoding="utf-8")
    return {
        "model": folder / "models/phase2",
        "report": report,
        "metrics_dir": metrics,
        "full": metrics / "full.json",
        "evaluation": folder / "data/evaluation",
        "out": folder / "registry/registered.json",
    }


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables: making them takes seconds, copying them does not."""
    folder = tmp_path_factory.mktemp("store")
    with new_store(folder) as client:
        client.search_registered_models()
    return folder / STORE


@pytest.fixture
def store(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an MLflow store of its own."""
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def build(store: Path, summary: dict, tiny_model_dir: Path) -> dict[str, Path]:
    """A finished build in the working folder."""
    return write_build(store, summary, tiny_model_dir)


@pytest.fixture(scope="session")
def two_versions(
    tmp_path_factory: pytest.TempPathFactory,
    empty_store: Path,
    tiny_model_dir: Path,
    demo_values: dict,
) -> Path:
    """A folder with a store of two versions: the second answers 80 % of the items right, the
    first 70 %. Read it, or copy it before changing anything."""
    from diffutron.config.params import parse_params
    from diffutron.registry.register import register

    folder = tmp_path_factory.mktemp("versions") / "project"
    folder.mkdir()
    shutil.copyfile(empty_store, folder / "mlflow.db")
    better = good_summary()
    better["models"]["phase2"] = model_numbers(p_value=1e-9, acc=0.8, bits=0.65)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        # test_register.py lets a version answer; here it would take half a minute each time.
        patch.setattr("diffutron.registry.register.smoke_test", lambda uri: "ok")
        for number, summary in enumerate([good_summary(), better], 1):
            paths = write_build(folder / f"build{number}", summary, tiny_model_dir)
            register(parse_params(demo_values, origin="test"), **paths)
    return folder


@pytest.fixture
def versions(two_versions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The two versions, with a store that a test may change; the current folder."""
    shutil.copyfile(two_versions / "mlflow.db", tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    return tmp_path
