"""The flows `train` and `join`: who is asked, what each command is told, who is let go."""

import json
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.states import Scheduled

import flows.machines
from flows.machines import cancel, join, own_address, train

pytestmark = pytest.mark.usefixtures("prefect_server")

STAGE = """
import json, os, sys
from pathlib import Path
Path("models").mkdir(exist_ok=True)
told = {name: text for name, text in os.environ.items() if name.startswith("DIFFUTRON_")}
Path("models/adapter.json").write_text(json.dumps(told))
if Path("mode.txt").read_text() == "bad":
    sys.exit("error: rank 1 waited for another one that is idle or gone")
"""
PIPELINE = """
stages:
  pretrain:
    cmd: python stage.py
    deps: [mode.txt, stage.py]
    outs: [models/adapter.json: {persist: true}]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    files = {"stage.py": STAGE, "dvc.yaml": PIPELINE, "mode.txt": "fine"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n  no_scm = true\n  check_update = false\n")
    return tmp_path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """What `ask_for_another` was called with; the runs that are let go follow."""
    calls: list[tuple] = []

    def ask(*arguments: object) -> UUID:
        calls.append(arguments)
        return uuid4()

    monkeypatch.setattr(flows.machines, "ask_for_another", ask)
    monkeypatch.setattr(flows.machines, "cancel", lambda runs: calls.append(("cancel", len(runs))))
    return calls


def told(project: Path) -> dict[str, str]:
    return json.loads((project / "models/adapter.json").read_text())


def test_the_run_leads_and_asks_for_the_others(project, asked) -> None:
    state = train(stage="pretrain", machines=3, return_state=True)
    assert state.message == "trained pretrain on 3 machines"
    (stage, machines, head), again = asked
    assert (stage, machines) == ("pretrain", 3)
    assert again == (stage, machines, head)
    expected = {"DIFFUTRON_HOSTS": "3", "DIFFUTRON_HEAD": head, "DIFFUTRON_LEADS": "1"}
    assert told(project).items() >= expected.items()
    state = train(stage="pretrain", machines=3, return_state=True)
    assert state.message == "pretrain: nothing it depends on has changed"
    assert len(asked) == 2  # nobody is asked in vain


def test_a_failure_lets_the_others_go(project, asked) -> None:
    (project / "mode.txt").write_text("bad")
    state = train(stage="pretrain", machines=2, return_state=True)
    assert state.is_failed()
    assert "rank 1 waited for another one" in state.message
    assert asked[-1] == ("cancel", 1)


def test_join_runs_the_command_of_the_stage(project) -> None:
    state = join(stage="pretrain", machines=2, head="10.0.0.1:29400", return_state=True)
    assert state.message == "took part in pretrain"
    assert told(project)["DIFFUTRON_LEADS"] == "0"
    assert told(project)["DIFFUTRON_HEAD"] == "10.0.0.1:29400"
    (project / "mode.txt").write_text("bad")
    state = join(stage="pretrain", machines=2, head="10.0.0.1:29400", return_state=True)
    assert state.is_failed()


def test_only_runs_that_are_not_over_are_cancelled() -> None:
    @flow
    def over() -> str:
        return "done"

    with get_client(sync_client=True) as client:
        waiting = client.create_flow_run(over, state=Scheduled()).id
        done = over(return_state=True).state_details.flow_run_id
        assert done is not None
        cancel([waiting, done])
        states = [client.read_flow_run(run).state for run in (waiting, done)]
    assert [state and state.type.value for state in states] == ["CANCELLED", "COMPLETED"]


def test_the_address_of_this_machine(monkeypatch) -> None:
    assert own_address() == "127.0.0.1"  # the server of these tests lies there
    monkeypatch.setenv("DIFFUTRON_ADDRESS", "10.1.2.3")
    assert own_address() == "10.1.2.3"
