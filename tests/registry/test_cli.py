"""The registry on the command line: what is printed, and one line with exit code 2 for mistakes."""

import copy
import json
import shutil
import sys
from pathlib import Path

import pytest

from diffutron.cli import complete
from diffutron.cli.app import main

pytestmark = pytest.mark.slow


@pytest.fixture
def run(monkeypatch, capsys):
    """`run("gate", "1")` in this process: (exit code, output, errors)."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["diffutron", *arguments])
        try:
            main()
            code = 0
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def shop(two_versions, tmp_path, monkeypatch):
    """The two versions; letting one answer, half a minute, is left to test_promotion_gate.py."""
    shutil.copyfile(two_versions / "mlflow.db", tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("diffutron.registry.promotion_gate.smoke_test", lambda uri: "ok")
    return tmp_path


def expecting(champion: str) -> tuple[str, str]:
    return ("--expected-champion", champion)


@pytest.mark.usefixtures("shop")
def test_the_shell_is_offered_the_versions():
    assert complete.versions("") == ["1", "2", "challenger", "champion"]


@pytest.mark.usefixtures("shop")
def test_a_day_at_the_registry(run):
    assert run("history")[1] == "no alias has moved yet\n"
    code, out, _ = run("gate", "challenger")
    assert code == 0
    assert "Version 2, no champion" in out
    assert "the gate holds" in out
    assert run("promote", "1", "--by", "kurul", "--reason", "first")[1] == (
        "champion: version 1 (before: none)\n"
    )
    code, out, _ = run("gate", "2", "--json")
    found = json.loads(out)
    assert (code, found["holds"], found["champion"]) == (0, True, 1)
    code, _, err = run("promote", "2", "--by", "kurul", "--reason", "better", *expecting("1"))
    assert code == 0, err
    code, out, _ = run("gate", "1", "--max-drop", "0.05")
    assert code == 1
    assert "the gate does not hold: 8 conditions" in out
    worse = ("promote", "1", "--by", "Ali", "--reason", "cheaper")
    code, out, err = run(*worse)
    assert (code, out) == (2, "")
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert "diffutron version 1 does not pass the gate: mean accuracy" in line
    assert "(and 7 more); nothing moved; see `diffutron gate 1`" in line
    code, out, _ = run(*worse, "--override-gate")
    assert code == 0
    assert "note: promoted although the gate does not hold: mean accuracy" in out
    assert run("rollback", "--by", "kurul")[1] == "champion: version 2 (before: 1)\n"
    assert run("rollback", "--to", "1")[0] == 0
    assert "promotion against the gate by Ali: cheaper" in run("history")[1]
    moves = json.loads(run("history", "--json")[1])
    assert [move["override_gate"] for move in moves] == [False, False, True, False, False]
    assert [move["version"] for move in moves] == [1, 2, 1, 2, 1]
    assert [move["kind"] for move in moves][-2:] == ["rollback", "rollback"]


def test_a_version_leaves_as_a_folder(shop, run):
    assert run("export", "1", "--to", "out")[1].startswith("wrote ")
    assert Path("out/model.safetensors").exists()
    code, out, _ = run("publish", "1", "--dry-run")
    assert code == 0
    assert "model.safetensors" in out
    assert "license: apache-2.0" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gate", "9"), "diffutron has no version 9; there are: 1, 2"),
        (("gate", "best"), "diffutron has no alias 'best'; there are: challenger; or give a num"),
        (("gate", "-1"), "No such option"),
        (("promote", "../../x", "--by", "a", "--reason", "b"), "has no alias '../../x'"),
        (("promote", "1", "--by", "", "--reason", "b"), "--by is empty"),
        (("promote", "1", "--by", "a", "--reason", "b", *expecting("x")), "champion x: give"),
        (("promote", "1", "--by", "a", "--reason", "b", *expecting("2")), "moved to version none"),
        (("rollback",), "diffutron has no champion"),
        (("rollback", "--to", "5"), "has no version 5"),
        (("publish", "1"), "add --dry-run to see what would be sent"),
        (("reproduce", "1"), "give --check to rebuild and compare, or --to FOLDER"),
        (("export", "1", "--to", "mlflow.db"), "mlflow.db is not an empty folder"),
    ],
)
@pytest.mark.usefixtures("shop")
def test_mistakes_are_one_line(run, arguments, message):
    code, _, err = run(*arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert json.loads(run("history", "--json")[1]) == []


@pytest.mark.parametrize("command", ["gate", "history", "rollback"])
def test_a_server_that_is_down(shop, run, monkeypatch, command):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    code, _, err = run(command, *(["1"] if command == "gate" else []))
    assert code == 2
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert "no answer; start the server" in line


@pytest.mark.usefixtures("shop")
def test_a_champion_that_moves_while_the_gate_judges_stays(run, monkeypatch):
    from diffutron.registry import promotion_gate
    from diffutron.registry.promote import promote

    judge = promotion_gate.judge

    def slow(version, **options):
        found = judge(version, **options)
        promote(1, by="kurul", reason="meanwhile")
        return found

    monkeypatch.setattr(promotion_gate, "judge", slow)
    code, _, err = run("promote", "2", "--by", "Ali", "--reason", "better")
    assert code == 2
    assert "moved to version 1 by kurul" in err


def test_the_bounds_stand_in_params_yaml(run, shop, demo_values):
    values = copy.deepcopy(demo_values)
    values["promote"]["max_drop"] = 0.33
    Path("params.yaml").write_text(json.dumps(values), encoding="utf-8")
    run("promote", "1", "--by", "kurul", "--reason", "first")
    wanted = {
        tuple(arguments): {
            one["wanted"].partition("at most ")[2]
            for one in json.loads(run("gate", "2", "--json", *arguments)[1])["conditions"]
            if one["name"].endswith("_tr, difference")
        }
        for arguments in ([], ["--max-drop", "0.5"])
    }
    assert wanted == {(): {"0.33 below"}, ("--max-drop", "0.5"): {"0.5 below"}}
