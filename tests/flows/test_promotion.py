"""The flow `promote` shows the comparison, asks, and moves the alias only on a yes."""

import json
from pathlib import Path

import pytest
from prefect.flow_runs import pause_flow_run

from diffutron.registry.promotion_gate import Verdict
from diffutron.registry.registration_gate import Condition
from diffutron.runtime.errors import UserError
from flows.promotion import Decision, comparison, last_registered, promote

pytestmark = pytest.mark.usefixtures("prefect_server")
TASK = {"n": 200, "acc": 0.8, "champion_acc": 0.7, "difference": 0.1}
CONDITIONS = [
    Condition("valid words", "at least 0.95", 0.98, holds=True),
    Condition("sanity checks", "all passed", "failed: a|b", holds=False),
    Condition("share", "some", None, holds=False),
]
COMPARED = {"n": 200, "mean_difference": 0.1, "low": 0.05, "tasks": {"sts_tr": TASK}}
FOUND = Verdict(3, 2, CONDITIONS, COMPARED)


@pytest.fixture
def answered(tmp_path, monkeypatch):
    """Answers the form instead of a person; collects what was asked."""
    monkeypatch.chdir(tmp_path)
    asked = []

    def answer(decision: str, by: str = "kurul", override_gate: bool = True):
        def pause(*, wait_for_input, timeout):
            asked.append((wait_for_input, timeout))
            return Decision(
                decision=decision, by=by, reason="better on all tasks", override_gate=override_gate
            )

        monkeypatch.setattr("flows.promotion.pause_flow_run", pause)
        return asked

    return answer


@pytest.fixture
def registry(monkeypatch):
    """What the flow would do with the registry: (name, version, options); the gate finds FOUND."""
    calls = []

    def judge(version, **options):
        calls.append(("judge", version, options))
        return calls.found

    def move(version, **options):
        calls.append(("promote", version, options))

    class Calls(list):
        found = FOUND

    calls = Calls()
    monkeypatch.setattr("diffutron.registry.promotion_gate.judge", judge)
    monkeypatch.setattr("diffutron.registry.promote.promote", move)
    return calls


def test_approved(answered, registry):
    asked = answered("approve")
    state = promote(version=3, hours=2, max_drop=0.2, return_state=True)
    assert state.name == "Promoted"
    assert state.message == "version 3 is champion, by kurul: better on all tasks"
    judged, moved = registry
    project = {"name": "diffutron", "limits": None}
    assert judged == ("judge", 3, {**project, "max_drop": 0.2, "use": "research"})
    assert moved == (
        "promote",
        3,
        {
            "name": "diffutron",
            "by": "kurul",
            "reason": "better on all tasks",
            "expected_champion": 2,
            "evidence": FOUND.as_evidence(),
            "override_gate": True,
        },
    )
    assert asked[0][1] == 7200


def test_a_gate_that_fails_is_overruled_only_by_its_field(answered, registry):
    answered("approve", override_gate=False)
    state = promote(version=3, return_state=True)
    assert state.is_failed()
    assert state.message.startswith("the gate does not hold; nothing moved")
    assert [name for name, *_ in registry] == ["judge"]
    registry.found = Verdict(3, None, CONDITIONS[:1], None)
    assert promote(version=3, return_state=True).name == "Promoted"
    options = registry[-1][2]
    assert (options["override_gate"], options["expected_champion"]) == (False, 0)


def test_rejected(answered, registry):
    answered("reject")
    state = promote(version=3, return_state=True)
    assert (state.name, len(registry)) == ("Rejected", 1)


def test_the_last_registered_version_is_the_default(answered, registry, toy_store, monkeypatch):
    answered("approve")
    monkeypatch.chdir(toy_store.parent)
    nothing = promote(return_state=True)
    assert nothing.is_failed()
    assert "names no version" in nothing.message
    Path("registry").mkdir()
    made = {"registered": True, "name": "diffutron", "version": 3, "run_id": "toy"}
    Path("registry/registered.json").write_text(json.dumps(made))
    assert last_registered() == 3
    assert promote(return_state=True).name == "Promoted"
    assert {version for name, version, _ in registry if name == "judge"} == {3}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"run_id": "of a version 3 that was deleted"}, "version 3 of diffutron, which the last"),
        ({"version": 4}, "version 4 of diffutron, which the last build registered, is gone"),
        ({"name": "another"}, "names no version of diffutron"),
        ({"registered": False}, "names no version of diffutron"),
    ],
)
def test_a_version_that_is_not_the_one_of_the_last_build_is_not_judged(
    registry, toy_store, monkeypatch, changed, told
):
    monkeypatch.chdir(toy_store.parent)
    made = {"registered": True, "name": "diffutron", "version": 3, "run_id": "toy"}
    Path("registry").mkdir()
    Path("registry/registered.json").write_text(json.dumps(made | changed))
    state = promote(return_state=True)
    assert state.is_failed()
    assert told in state.message
    assert registry == []


def test_no_answer_moves_nothing(tmp_path, monkeypatch, registry, caplog):
    monkeypatch.chdir(tmp_path)

    def pause(*, wait_for_input, timeout):
        return pause_flow_run(wait_for_input=wait_for_input, timeout=1, poll_interval=1)

    monkeypatch.setattr("flows.promotion.pause_flow_run", pause)
    state = promote(version=3, return_state=True)
    assert state.is_failed()
    assert "no answer within 24 h; nothing moved" in caplog.text
    assert [name for name, *_ in registry] == ["judge"]


def test_what_the_registry_refuses_is_said(answered, monkeypatch):
    answered("approve")
    state = promote(version=3, return_state=True)
    assert state.is_failed()
    assert state.message.startswith("gate: no registry here: ")


def test_a_champion_that_moved_while_a_person_thought_stays(answered, registry, monkeypatch):
    def moved(version, **options):
        raise UserError(f"not champion {options['expected_champion']} any more")

    monkeypatch.setattr("diffutron.registry.promote.promote", moved)
    answered("approve")
    state = promote(version=3, return_state=True)
    assert state.is_failed()
    assert state.message == "promote: not champion 2 any more"


def test_the_form_shows_tasks_and_conditions():
    shown = comparison(FOUND.as_json())
    assert "Make **version 3** the `champion`? The gate **does not hold**." in shown
    assert "| sts_tr | 200 | 70.0 | 80.0 | +10.0 |" in shown
    assert "+10.0 (95 %: at least +5.0)" in shown
    assert "| holds | valid words | 0.98 | at least 0.95 |" in shown
    assert "| **fails** | sanity checks | failed: a\\|b | all passed |" in shown
    assert "| **fails** | share | not measured | some |" in shown
    alone = comparison(Verdict(3, None, CONDITIONS[:1], None).as_json())
    assert "Compared with nothing: there is no other champion." in alone
