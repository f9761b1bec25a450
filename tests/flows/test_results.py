"""What a finished build prints."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from flows.results import NEXT, registered_line, show_results


def task(acc: float | None, p_value: float | None) -> dict:
    return {"n": 200, "acc": acc, "p_value": p_value}


@pytest.fixture
def built(tmp_path, monkeypatch):
    """A folder with the files that a build leaves."""
    monkeypatch.chdir(tmp_path)
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
        "registry/registered.json": json.dumps({"registered": True, "version": 3}),
    }
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")
    return tmp_path


def printed() -> str:
    console = Console(width=100)
    with console.capture() as captured:
        show_results(console)
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


def test_a_closed_gate_says_what_failed(built):
    Path("registry/registered.json").write_text('{"registered": false, "failed": ["a", "b"]}')
    assert registered_line() == "Logged but not registered: a; b. Next:"
    Path("registry/registered.json").unlink()
    assert registered_line() == "Nothing was registered. Next:"
