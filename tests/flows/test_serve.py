"""What a person finds in the Prefect UI: six deployments with forms that explain themselves."""

import asyncio

import pytest

from diffutron.operations.graph import stages_in_order
from flows.serve import deployments

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(scope="module")
def served(repo):
    return {deployment.name: deployment for deployment in asyncio.run(deployments())}


def form(deployment, parameter: str) -> dict:
    schema = deployment._parameter_openapi_schema.model_dump()
    return schema["properties"][parameter]


def test_the_deployments(served):
    assert {name: deployment.flow_name for name, deployment in served.items()} == {
        "build": "build",
        "evaluate": "evaluate",
        "leaderboard": "leaderboard",
        "tune": "tune",
        "sweep": "sweep",
        "promote": "promote",
    }
    assert all(len(deployment.description) > 80 for deployment in served.values())
    assert served["build"].concurrency_limit is None  # the slot is taken in the flow


def test_stages_and_profiles_are_chosen_from_a_list(served, repo):
    assert form(served["build"], "profile")["enum"] == ["current", "demo", "small", "paper"]
    assert form(served["build"], "profile")["default"] == "current"
    for end, default in (("first", "tokenizer"), ("last", "register")):
        field = form(served["build"], end)
        assert field["enum"] == stages_in_order(repo / "dvc.yaml")
        assert field["default"] == default


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("build", ["profile", "settings", "first", "last", "overrides", "force"]),
        ("evaluate", ["rerun"]),
        ("leaderboard", ["only", "tasks", "data", "protocol", "limit", "shots"]),
        ("tune", ["model", "data", "out", "method", "language", "register_model", "settings"]),
        ("sweep", ["file", "workers", "out"]),
        ("promote", ["version", "hours"]),
    ],
)
def test_every_field_has_a_help_text(served, name, parameters):
    for parameter in parameters:
        assert len(form(served[name], parameter)["description"]) > 20


def test_bounds_are_part_of_the_form(served):
    hours = form(served["promote"], "hours")
    assert (hours["minimum"], hours["maximum"]) == (1, 168)
