"""Which runs of stages a build takes for its own."""

import uuid
from pathlib import Path

import pytest

from diffutron.registry.mlflow_client import experiment_id, tracking
from diffutron.registry.mlflow_runs import end_build, start_build
from diffutron.registry.stage_runs import adopt, points, shown_runs
from diffutron.runtime.files import file_digest, write_json
from diffutron.runtime.live import BUILD_RUN, COLUMNS, add_point, new_curve


@pytest.fixture
def told(store):
    """A stage that has shown itself, and its numbers."""
    write_json(Path("metrics/corpus.json"), {"documents": 3})
    with tracking() as client:
        run = client.create_run(experiment_id(client), tags={"stage": "corpus"}).info.run_id
        client.set_terminated(run)
    digest = file_digest(Path("metrics/corpus.json"))
    return {"run_id": run, "status": "FINISHED", "measured": digest, "parent": None}


def found(told):
    write_json(Path("live/corpus.json"), told)
    with tracking() as client:
        return {
            stage: run.info.run_id for stage, run in shown_runs(client, Path("metrics")).items()
        }


def test_a_run_is_taken_where_it_shows_the_numbers_at_hand(told, monkeypatch):
    assert found(told) == {"corpus": told["run_id"]}
    for change in (
        {"status": "RUNNING"},
        {"status": "FAILED"},
        {"measured": "0" * 64},
        {"measured": None},
        {"parent": "another-build"},
        {"run_id": uuid.uuid4().hex},  # of another store
    ):
        assert found(told | change) == {}, change
    monkeypatch.setenv(BUILD_RUN, "this-build")
    assert found(told | {"parent": "this-build"}) == {"corpus": told["run_id"]}
    assert found(told) == {}
    monkeypatch.delenv(BUILD_RUN)
    with tracking() as client:
        client.delete_run(told["run_id"])
    assert found(told) == {}


def test_a_run_is_taken_once(told):
    found(told)
    with tracking() as client:
        adopt(client, shown_runs(client, Path("metrics")), parent="one")
        assert client.get_run(told["run_id"]).data.tags["mlflow.parentRunId"] == "one"
        assert shown_runs(client, Path("metrics")) == {}


def test_a_table_is_read_as_it_was_written(tmp_path, monkeypatch):
    table = tmp_path / "live" / "toy.csv"
    new_curve(table)
    monkeypatch.setenv("DIFFUTRON_CURVE", str(table))
    add_point({"step": 0, "eval_loss": 2.5})
    add_point({name: place for place, name in enumerate(COLUMNS)} | {"step": 7, "else": 1})
    lines = table.read_bytes().splitlines(keepends=True)
    assert points(lines) == [
        ("eval_loss", 2.5, 0),
        *((name, float(place), 7) for place, name in enumerate(COLUMNS) if name != "step"),
    ]
    assert points(lines[:1]) == points([]) == []


def test_the_run_of_a_build_whose_process_is_gone_ends_with_the_next_one(store, make_params):
    _, gone = start_build(make_params(), {})
    _, alive = start_build(make_params(), {})
    with tracking() as client:
        host, pid, born = client.get_run(gone).data.tags["process"].rsplit(":", 2)
        client.set_tag(gone, "process", f"{host}:{pid}:{int(born) - 1}")  # the number was reused
    _, last = start_build(make_params(), {"entry_point": "test"})
    with tracking() as client:
        assert client.get_run(gone).info.status == "KILLED"
        assert client.get_run(alive).info.status == "RUNNING"
        tags = client.get_run(last).data.tags
    assert {"git_sha", "params_sha", "profile", "mlflow.user", "entry_point"} <= tags.keys()
    end_build(last, "FAILED", "the disk is full")
    with tracking() as client:
        run = client.get_run(last)
    assert (run.info.status, run.data.tags["mlflow.note.content"]) == ("FAILED", "the disk is full")
    assert run.data.params["pretrain.lora.rank"]
