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
    assert len(images) == 6
    for image in images:
        assert re.search(r":\d+\.\d+", image), image


def test_nothing_listens_beyond_loopback(compose):
    published = [p for s in compose["services"].values() for p in s.get("ports", [])]
    assert published == [f"127.0.0.1:{port}:{port}" for port in (4200, 5000, 8400)]


def test_secrets_come_from_the_environment(compose):
    secret = re.compile("PASSWORD|SECRET|AUTH_STRING|ACCESS_KEY")
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if secret.search(name):
                assert re.fullmatch(r"\$\{\w+:\?\}", value), name


def test_no_service_has_privileges_and_each_has_a_health_check(compose):
    assert compose["services"].keys() == {"postgres", "prefect", "mlflow", "worker", "serve"}
    for name, service in compose["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert service["image"].startswith("diffutron:") or service["user"] == "postgres", name


def test_authentication_is_on(compose):
    prefect, mlflow = compose["services"]["prefect"], compose["services"]["mlflow"]
    assert prefect["environment"]["PREFECT_SERVER_API_AUTH_STRING"] == "${PREFECT_AUTH:?}"
    assert "--app-name basic-auth" in mlflow["command"]


@pytest.fixture(scope="module")
def dockerfile(repo):
    """(instruction, rest) a line; continued lines are one."""
    text = (repo / "infra" / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return [(line[0], line[1]) for line in lines if not line[0].startswith("#")]


def test_the_image_copies_what_exists_and_runs_as_a_user(dockerfile, repo):
    sources = [
        part
        for instruction, rest in dockerfile
        if instruction == "COPY"
        for part in rest.split()[:-1]
        if not part.startswith("--")
    ]
    assert sources == ["constraints.txt", "."]
    assert all((repo / source).exists() for source in sources)
    names = [instruction for instruction, _ in dockerfile]
    users = [rest for instruction, rest in dockerfile if instruction == "USER"]
    assert users == ["diffutron"]
    assert names.index("USER") < names.index("COPY")
    assert names.count("HEALTHCHECK") == names.count("CMD") == 1


def test_the_image_is_a_worker_as_the_file_starts_it(dockerfile, compose):
    import json

    worker = compose["services"]["worker"]
    started = dict(dockerfile)
    assert json.loads(started["CMD"]) == worker["command"].split()
    check = json.loads(started["HEALTHCHECK"].partition("CMD ")[2])
    assert check == worker["healthcheck"]["test"][1:]


def test_no_secret_and_no_other_environment_enters_the_image(repo):
    ignored = (repo / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {".git", ".venv", "**/.env"} <= set(ignored)
    needed = {"Makefile", "constraints.txt", "pyproject.toml", "README.md", "LICENSE"}
    assert not (needed | {"diffutron", "flows", "infra"}) & set(ignored)


def test_every_deployment_is_a_flow_of_this_repository(deployments, repo):
    names = [deployment["name"] for deployment in deployments]
    assert names == [
        "build", "evaluate", "leaderboard", "tune", "sweep", "promote", "train", "join",
    ]  # fmt: skip
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
