"""The flow `promote` asks, and moves the alias only on a yes."""

from pathlib import Path

import pytest

from flows.promotion import Decision, last_registered, promote

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def answered(tmp_path, monkeypatch):
    """Answers the form instead of a person; collects what was asked."""
    monkeypatch.chdir(tmp_path)
    asked = []

    def answer(decision: str, by: str = "Ayşe"):
        def pause(*, wait_for_input, timeout):
            asked.append((wait_for_input, timeout))
            return Decision(decision=decision, by=by, reason="better on all tasks")

        monkeypatch.setattr("flows.promotion.pause_flow_run", pause)
        return asked

    return answer


@pytest.fixture
def moved(monkeypatch):
    """The commands that the flow would run: the registry is not part of this test."""
    commands = []
    monkeypatch.setattr("flows.promotion.run_command", lambda c, *, log: commands.append(c[2:]))
    return commands


def test_approved(answered, moved):
    asked = answered("approve")
    state = promote(version=3, hours=2, return_state=True)
    assert state.name == "Promoted"
    assert state.message == "version 3 is champion, by Ayşe: better on all tasks"
    assert moved == [
        ["diffutron", "promote", "3", "--by", "Ayşe", "--reason", "better on all tasks"]
    ]
    assert asked[0][1] == 7200


def test_rejected(answered, moved):
    answered("reject")
    state = promote(version=3, return_state=True)
    assert (state.name, moved) == ("Rejected", [])


def test_the_last_registered_version_is_the_default(answered, moved):
    answered("approve")
    nothing = promote(return_state=True)
    assert nothing.is_failed()
    assert "names no version" in nothing.message
    Path("registry").mkdir()
    Path("registry/registered.json").write_text('{"registered": true, "version": 8}')
    assert last_registered() == 8
    assert promote(return_state=True).name == "Promoted"
    assert moved[0][2] == "8"


def test_what_the_registry_refuses_is_said(answered):
    answered("approve", by=" ")
    state = promote(version=3, return_state=True)
    assert state.is_failed()
    assert state.message.startswith("promote: --by is empty")
