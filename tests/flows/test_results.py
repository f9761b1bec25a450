"""What a finished build prints."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from flows.results import NEXT, registered_line, show_results

MADE = {"registered": True, "name": "diffutron", "version": 3, "run_id": "toy"}


def task(acc: float | None, p_value: float | None) -> dict:
    return {"n": 200, "acc": acc, "p_value": p_value}


@pytest.fixture
def built(toy_store):
    """A folder with the files that a build leaves, and its registry."""
    base = {"bits_per_byte": 0.6, "tasks": {"news_cat": task(0.205, 0.4)}, "instructions": {}}
    phase2 = {
        "bits_per_byte": None,
        "tasks": {"news_cat": task(0.9875, 1e-9), "ironytr": task(None, None)},
        "instructions": {"acc": 0.75},
        "generation": {"valid_words": 0.98},
    }
    files = {
        "metrics/full.json": json.dumps({"models": {"base": base, "phase2": phase2}}),
        "data/evaluation/instructions_phase2.jsonl": json.dumps(
            {"prompt": "Türkiye'nin [başkenti]?", "expected": "Ankara", "generated": "İzmir"}
        ),
        "registry/registered.json": json.dumps(MADE),
    }
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")
    return toy_store.parent


def printed(*, registered: bool = True) -> str:
    console = Console(width=100)
    with console.capture() as captured:
        show_results(console, registered=registered)
    return captured.get()


def cells(text: str, measure: str) -> list[str]:
    line = next(line for line in text.splitlines() if measure in line)
    return [cell.strip() for cell in line.strip("│ ").split("│")[1:]]


def test_the_table_shows_what_was_measured(built):
    text = printed()
    assert cells(text, "bits a byte") == ["0.600", "-"]
    assert cells(text, "news_cat") == ["20.5", "98.8*"]
    assert cells(text, "ironytr") == ["-", "-"]
    assert cells(text, "instructions answered") == ["-", "75.0"]
    assert cells(text, "valid words") == ["-", "98.0"]


def test_one_question_its_answer_and_what_was_expected(built):
    text = printed()
    assert "Türkiye'nin [başkenti]?\n-> İzmir\n   (expected: Ankara)\n" in text


def test_the_next_commands(built):
    text = printed()
    assert "Registered as version 3, alias challenger. Next:" in text
    assert "  open report/report.html  the report" in text
    assert all(why in text for _, why in NEXT)
    # A build that ends with the report has no version, whatever an earlier one has left.
    assert "Nothing was registered. Next:" in printed(registered=False)


def test_a_closed_gate_says_what_failed(built):
    Path("registry/registered.json").write_text('{"registered": false, "failed": ["a", "b"]}')
    assert registered_line() == "Logged but not registered: a; b. Next:"
    Path("registry/registered.json").unlink()
    assert registered_line() == "Nothing was registered. Next:"


def test_what_is_told_of_the_version_is_asked_of_the_registry(built, monkeypatch):
    from diffutron.registry.mlflow_client import tracking

    with tracking() as client:
        client.set_registered_model_alias("diffutron", "champion", "3")
        assert registered_line() == "Registered as version 3, alias challenger, champion. Next:"
        for alias in ("challenger", "champion"):
            client.delete_registered_model_alias("diffutron", alias)
        assert registered_line() == "Registered as version 3, no alias points at it. Next:"
        client.delete_model_version("diffutron", "3")
    gone = "Version 3 of diffutron is gone from the registry; `diffutron build` registers it again."
    assert registered_line() == f"{gone} Next:"
    Path("mlflow.db").rename("elsewhere.db")
    assert registered_line() == f"{gone} Next:"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///damaged.db")
    Path("damaged.db").write_bytes(b"no database at all" * 100)
    told = registered_line()
    assert told.startswith("Registered as version 3; whether it is there now: MLflow at sqlite:///")
