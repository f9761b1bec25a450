"""Where the store is, and its errors in one line."""

import pytest

from diffutron.registry.mlflow_client import experiment_id, tracking, tracking_uri
from diffutron.runtime.errors import UserError


def test_default_store_lies_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    assert tracking_uri() == "http://localhost:5000"


def test_artifacts_have_a_fixed_root_without_a_server(store):
    with tracking(make=True) as client:
        first = experiment_id(client)
        assert client.get_experiment(first).artifact_location == (store / "mlartifacts").as_uri()
        assert experiment_id(client) == first


@pytest.mark.usefixtures("store")
def test_a_deleted_experiment_is_named():
    with tracking(make=True) as client:
        client.delete_experiment(experiment_id(client))
    deleted = "experiment diffutron is deleted; restore it"
    with pytest.raises(UserError, match=deleted), tracking(make=True) as client:
        experiment_id(client)


@pytest.mark.usefixtures("store")
def test_files_behind_a_server_are_not_reached_without_it():
    with tracking(make=True) as client:
        client.create_experiment("diffutron", artifact_location="mlflow-artifacts:/1")
    behind = "keeps its files behind a server; start it and set MLFLOW_TRACKING_URI"
    with pytest.raises(UserError, match=behind), tracking(make=True) as client:
        experiment_id(client)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("http://127.0.0.1:9", "no answer; start the server"),
        ("./mlruns", "maintenance mode"),
        ("sqlite:///damaged.db", "not a database"),
    ],
)
def test_a_store_that_does_not_work_is_one_line(tmp_path, monkeypatch, uri, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (tmp_path / "damaged.db").write_bytes(b"no database at all" * 100)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError, match=message) as caught, tracking(make=True) as client:
        experiment_id(client)
    assert "\n" not in str(caught.value)
