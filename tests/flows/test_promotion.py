"""The flow `promote` shows the comparison, asks, and moves the alias only on a yes."""

import json
from pathlib import Path

import pytest
from prefect.flow_runs import pause_flow_run

from flows.promotion import Decision, comparison, last_registered, promote
from flows.stage import CommandFailed

pytestmark = pytest.mark.usefixtures("prefect_server")
TASK = {"n": 200, "acc": 0.8, "champion_acc": 0.7, "difference": 0.1}
FOUND = {
    "version": 3,
    "champion": 2,
    "holds": False,
    "conditions": [
        {"name": "valid words", "wanted": "at least 0.95", "found": 0.98, "holds": True},
        {"name": "canaries", "wanted": "all passed", "found": "failed: a|b", "holds": False},
        {"name": "share", "wanted": "some", "found": None, "holds": False},
    ],
    "comparison": {"n": 200, "mean_difference": 0.1, "low": 0.05, "tasks": {"sts_tr": TASK}},
}


@pytest.fixture
def answered(tmp_path, monkeypatch):
    """Answers the form instead of a person; collects what was asked."""
    monkeypatch.chdir(tmp_path)
    asked = []

    def answer(decision: str, by: str = "kurul", override_gate: bool = True):
        def pause(*, wait_for_input, timeout):
            asked.append((wait_for_input, timeout))
            return Decision(
                decision=decision,
                by=by,
                reason="better on all tasks",
                override_gate=override_gate,
            )

        monkeypatch.setattr("flows.promotion.pause_flow_run", pause)
        return asked

    return answer


@pytest.fixture
def registry(monkeypatch):
    """The commands that the flow would run, and what they say: `gate` finds FOUND."""
    commands = []

    def run(command, *, log):
        commands.append(command[2:])
        if command[3] == "gate":
            log("2026/11/24 INFO mlflow: a line of a library")
            for line in json.dumps(FOUND, indent=2).splitlines():
                log(line)
            raise CommandFailed("the gate does not hold", code=1, tail=[])

    monkeypatch.setattr("flows.promotion.run_command", run)
    return commands


def test_approved(answered, registry):
    asked = answered("approve")
    state = promote(version=3, hours=2, max_drop=0.2, return_state=True)
    assert state.name == "Promoted"
    assert state.message == "version 3 is champion, by kurul: better on all tasks"
    judge, move = registry
    assert judge == [
        *("diffutron", "gate", "3", "--json", "--max-drop", "0.2", "--use", "research")
    ]
    told = ["--by", "kurul", "--reason", "better on all tasks", "--over", "2"]
    told += ["--max-drop", "0.2", "--use", "research", "--override-gate"]
    assert move == ["diffutron", "promote", "3", *told]
    assert asked[0][1] == 7200


def test_a_gate_that_fails_is_overruled_only_by_its_field(answered, registry, monkeypatch):
    answered("approve", override_gate=False)
    state = promote(version=3, return_state=True)
    assert state.is_failed()
    assert state.message.startswith("the gate does not hold; nothing moved")
    assert [command[1] for command in registry] == ["gate"]
    monkeypatch.setitem(FOUND, "holds", True)
    assert promote(version=3, return_state=True).name == "Promoted"
    assert "--override-gate" not in registry[-1]


def test_rejected(answered, registry):
    answered("reject")
    state = promote(version=3, return_state=True)
    assert (state.name, len(registry)) == ("Rejected", 1)


def test_the_last_registered_version_is_the_default(answered, registry):
    answered("approve")
    nothing = promote(return_state=True)
    assert nothing.is_failed()
    assert "names no version" in nothing.message
    Path("registry").mkdir()
    Path("registry/registered.json").write_text('{"registered": true, "version": 8}')
    assert last_registered() == 8
    assert promote(return_state=True).name == "Promoted"
    assert {command[2] for command in registry} == {"8"}


def test_no_answer_moves_nothing(tmp_path, monkeypatch, registry, caplog):
    monkeypatch.chdir(tmp_path)

    def pause(*, wait_for_input, timeout):
        return pause_flow_run(wait_for_input=wait_for_input, timeout=1, poll_interval=1)

    monkeypatch.setattr("flows.promotion.pause_flow_run", pause)
    state = promote(version=3, return_state=True)
    assert state.is_failed()
    assert "no answer within 24 h; nothing moved" in caplog.text
    assert [command[1] for command in registry] == ["gate"]


@pytest.mark.parametrize("reason", ["; rm -rf /", "$(touch x)", "--over 9", "`id`"])
def test_what_is_typed_into_the_form_stays_an_argument(answered, registry, reason):
    answered("approve", by=reason)
    promote(version=3, return_state=True)
    move = registry[1]
    assert move[move.index("--by") + 1] == reason
    assert move.count("--over") == 1


def test_what_the_registry_refuses_is_said(answered):
    answered("approve")
    state = promote(version=3, return_state=True)
    assert state.is_failed()
    assert state.message.startswith("gate: no registry here: ")


def test_the_form_shows_tasks_and_conditions():
    shown = comparison(FOUND)
    assert "Make **version 3** the `champion`? The gate **does not hold**." in shown
    assert "| sts_tr | 200 | 70.0 | 80.0 | +10.0 |" in shown
    assert "+10.0 (95 %: at least +5.0)" in shown
    assert "| holds | valid words | 0.98 | at least 0.95 |" in shown
    assert "| **fails** | canaries | failed: a/b | all passed |" in shown
    assert "| **fails** | share | not measured | some |" in shown
    alone = comparison({**FOUND, "champion": None, "holds": True, "comparison": None})
    assert "Compared with nothing: there is no other champion." in alone
