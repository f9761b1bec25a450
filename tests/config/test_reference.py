"""What is said of settings and environment variables: all of them, and the pages are fresh."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from diffutron.config import environment, reference
from diffutron.config.params import Params
from diffutron.config.renamed import VARIABLES
from diffutron.operations.profiles import write_params
from diffutron.runtime.tables import flatten
from diffutron.runtime.yaml_files import read_yaml
from tests.support.project import CLONE

READERS = ("get", "setdefault", "pop", "getenv")
PAGES = {"params.md": reference.page, "environment.md": environment.page}


def test_every_setting_says_what_it_means_and_what_is_allowed(repo):
    said = {one.key: one for one in reference.settings()}
    values = read_yaml(repo / "params.yaml")
    inside = re.compile(r"\.(hub|quotas)\b.*|\.fields\b.*")
    missing = {key for key in flatten(values) if inside.sub("", key) not in said}
    assert {key.rpartition(".")[0] for key in missing} <= set(said)
    assert len(said) > 250
    for one in said.values():
        assert one.meaning, one.key
        assert not one.meaning.endswith("."), one.key
        assert len(one.comment) <= 100, one.comment


def test_a_value_that_is_allowed_is_one_of_the_choices(repo):
    said = {one.key: one for one in reference.settings()}
    for section, values in Params.model_validate(read_yaml(repo / "params.yaml")):
        for key, value in values if hasattr(values, "model_fields_set") else ():
            one = said[f"{section.rstrip('_')}.{key}"]
            if one.choices and isinstance(value, str):
                assert value in one.choices, one.key


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_what_the_command_prints(name):
    committed = (CLONE / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert committed == PAGES[name](), f"make reference renews docs/reference/{name}"


def test_the_comments_of_params_yaml_are_those_of_the_classes(repo, monkeypatch, tmp_path):
    monkeypatch.chdir(repo)
    fresh = tmp_path / "params.yaml"
    write_params("demo", [], path=fresh, keep_changes=False)
    assert (repo / "params.yaml").read_text("utf-8") == fresh.read_text("utf-8")


def names_read(path: Path) -> Iterator[str]:
    """What a module takes from the environment, and every constant that looks like one of ours."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"\bDIFFUTRON_[A-Z_]+", node.value)
        named: ast.expr | None = None
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            named = node.slice
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in READERS and "environ" in ast.unparse(node.func) and node.args:
                named = node.args[0]
        elif isinstance(node, ast.Compare) and ast.unparse(node.comparators[0]) == "os.environ":
            named = node.left
        if isinstance(named, ast.Constant) and isinstance(named.value, str):
            yield named.value


def test_every_environment_variable_is_listed_and_read():
    listed = {**environment.OURS, **environment.SET_BY_THE_PROGRAM, **environment.OTHERS}
    own = CLONE / "diffutron" / "config"
    modules = [
        path
        for folder in ("diffutron", "flows")
        for path in (CLONE / folder).rglob("*.py")
        if path not in (own / "environment.py", own / "renamed.py")
    ]
    read = {name for path in modules for name in names_read(path)} - VARIABLES.keys()
    assert not read - listed.keys()
    others = [CLONE / "Makefile", *(CLONE / "infra").rglob("*.*"), CLONE / "tests/e2e"]
    texts = "".join(one.read_text("utf-8") for one in others if one.is_file())
    ours = environment.OURS.keys() | environment.SET_BY_THE_PROGRAM.keys()
    assert not [name for name in ours if name not in read and name not in texts]
    assert not set(re.findall(r"\bDIFFUTRON_[A-Z_]+", texts)) - listed.keys()
