"""The names of all numbers of a run: what other commands refer to."""

import json
from pathlib import Path

import pytest

from diffutron.cli import app
from diffutron.operations.metrics import metrics, named
from diffutron.runtime.errors import UserError

BITS = {"base": 0.7, "merged": 0.6, "phase1": 4.1, "phase2": 5.3}


def model(bits: float) -> dict:
    return {
        "bits_per_byte": bits,
        "nelbo": 3 * bits,
        "perplexity": {"0-.1": 1.5},
        "perplexity_text": {"bits_per_byte": bits + 1},
        "tasks": {"news_cat": {"acc": 0.8, "p_value": None, "sanity_checks": {"oracle": True}}},
        "instructions": {"acc": 0.4, "phase1": {"acc": 0.5}},
        "seconds": 9.0,
    }


def write(folder: Path, stage: str, values: dict) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{stage}.json").write_text(json.dumps(values), encoding="utf-8")


def write_evaluate(folder: Path, *models: str) -> None:
    beside = {"bigram": 0.8, "perplexity_text": {"bigram": 1.9}, "missing_sets": ["sts_tr"]}
    write(folder, "evaluate", {"models": {name: model(BITS[name]) for name in models}, **beside})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "metrics", "backbone", {"eval_loss": 1.2, "steps": 40, "device": "cpu"})
    write(tmp_path / "metrics", "instructions", {"phase1": {"rows": {"train": 5}}})
    write_evaluate(tmp_path / "metrics", *BITS)
    write(tmp_path / "metrics", "summary", {"other": 1})
    return tmp_path / "metrics"


def test_names_are_the_stage_and_the_keys_of_its_file(folder):
    found = metrics(folder)
    assert found["backbone.eval_loss"] == 1.2
    assert found["backbone.steps"] == 40
    assert found["evaluate.models.merged.bits_per_byte"] == 0.6
    assert found["evaluate.models.base.tasks.news_cat.acc"] == 0.8
    assert found["evaluate.bigram"] == 0.8
    assert {name.partition(".")[0] for name in found} == {
        *("backbone", "instructions", "evaluate"),
        *("heldout", "perplexity_text", "tasks", "answers"),
    }


def test_only_numbers_have_names(folder):
    found = metrics(folder)
    assert {type(value) for value in found.values()} <= {int, float}
    for name in ("backbone.device", "evaluate.missing_sets", "tasks.news_cat.p_value"):
        assert name not in found
    assert not [name for name in found if "oracle" in name]


def test_short_names_are_of_the_last_model(folder):
    for count in range(4, 0, -1):
        chosen = [*BITS][:count]
        write_evaluate(folder, *reversed(chosen))
        found, bits = metrics(folder), BITS[chosen[-1]]
        short = {name: value for name, value in found.items() if name.split(".")[0] == "heldout"}
        assert short == {
            "heldout.bits_per_byte": bits,
            "heldout.nelbo": 3 * bits,
            "heldout.perplexity.0-.1": 1.5,
            "heldout.bigram": 0.8,
        }
        assert found["perplexity_text.bits_per_byte"] == bits + 1
        assert found["perplexity_text.bigram"] == 1.9
        assert found["tasks.news_cat.acc"] == 0.8
        assert found["answers.phase1.acc"] == 0.5


def test_a_run_that_was_not_evaluated_has_the_names_of_its_stages(folder):
    (folder / "evaluate.json").unlink()
    assert metrics(folder) == {
        "backbone.eval_loss": 1.2,
        "backbone.steps": 40,
        "instructions.phase1.rows.train": 5,
    }


def test_a_prefix_chooses(folder):
    values = metrics(folder)
    assert named(values, "") == values
    assert [*named(values, "backbone.e")] == ["backbone.eval_loss"]
    with pytest.raises(UserError, match=r"begins with 'nothing'; they begin with heldout, p"):
        named(values, "nothing")


def run(monkeypatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["diffutron", *words])
    with pytest.raises(SystemExit) as caught:
        app.main()
    return caught.value.code  # pyright: ignore[reportReturnType]


def test_the_command_prints_a_name_and_its_value_per_line(folder, monkeypatch, capsys):
    assert run(monkeypatch, "metrics") == 0
    lines = dict(line.rsplit(" ", 1) for line in capsys.readouterr().out.splitlines())
    assert {name: float(value) for name, value in lines.items()} == metrics(folder)
    assert run(monkeypatch, "metrics", "heldout.b", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == {"heldout.bits_per_byte": 5.3, "heldout.bigram": 0.8}
    assert run(monkeypatch, "metrics", "--help") == 0
    assert "diffutron metrics heldout" in capsys.readouterr().out


def test_a_project_without_metrics_is_told_so_in_one_line(monkeypatch, capsys):
    assert run(monkeypatch, "metrics") == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == ("error: metrics holds no metrics of a stage; run `diffutron build` first\n")
