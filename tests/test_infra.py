"""The files of infra/ name what exists, bind to loopback and hold no secret."""

import ast
import re

import pytest
import yaml


@pytest.fixture(scope="module")
def compose(repo):
    return yaml.safe_load((repo / "infra" / "compose.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def deployments(repo):
    text = (repo / "infra" / "prefect.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["deployments"]


def test_every_image_is_pinned(compose, repo):
    images = [service["image"] for service in compose["services"].values()]
    dockerfile = (repo / "infra" / "Dockerfile").read_text(encoding="utf-8")
    images += re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    assert len(images) == 5
    for image in images:
        assert re.search(r":\d+\.\d+", image), image


def test_nothing_listens_beyond_loopback(compose):
    published = [p for s in compose["services"].values() for p in s.get("ports", [])]
    assert published == ["127.0.0.1:4200:4200", "127.0.0.1:5000:5000"]


def test_secrets_come_from_the_environment(compose):
    secret = re.compile("PASSWORD|SECRET|AUTH_STRING|ACCESS_KEY")
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if secret.search(name):
                assert re.fullmatch(r"\$\{\w+:\?\}", value), name


def test_our_services_have_no_privileges(compose):
    ours = [s for s in compose["services"].values() if s["image"].startswith("diffutron")]
    assert len(ours) == 3
    for service in ours:
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_every_deployment_is_a_flow_of_this_repository(deployments, repo):
    names = [deployment["name"] for deployment in deployments]
    assert names == ["build", "evaluate", "leaderboard", "promote"]
    for deployment in deployments:
        path, name = deployment["entrypoint"].split(":")
        tree = ast.parse((repo / path).read_text(encoding="utf-8"))
        flows = {
            node.name
            for node in tree.body
            if isinstance(node, ast.FunctionDef)
            and any(ast.unparse(decorator).startswith("flow(") for decorator in node.decorator_list)
        }
        assert name in flows, deployment["entrypoint"]


def test_the_team_settings_name_the_prefect_that_is_installed(repo):
    import importlib.metadata

    text = (repo / "infra" / "prefect.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(text)["prefect-version"] == importlib.metadata.version("prefect")
