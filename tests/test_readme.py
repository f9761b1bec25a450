"""The README says what is so: its example runs, its folders and its links are there."""

import re

import pytest


@pytest.fixture(scope="module")
def readme(repo):
    return (repo / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs(readme, tiny_model_dir, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    assert '"models/phase2"' in code
    exec(compile(code.replace("models/phase2", str(tiny_model_dir)), "README.md", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) >= 4


def test_every_folder_stands_in_the_list(readme, repo):
    listed = readme.split("## The folders")[1]
    for folder in sorted(path.parent for path in (repo / "diffutron").rglob("__init__.py")):
        if folder.name != "diffutron":
            assert f"{folder.name}/" in listed, folder


def test_every_link_into_the_repository_leads_somewhere(readme, repo):
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", readme):
        assert (repo / target).exists(), target


def test_every_command_of_the_readme_exists(readme):
    from typer.main import get_command

    from diffutron.cli.app import app

    commands = get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]
    for name in re.findall(r"`?diffutron ([a-z_0-9]+)", readme):
        assert name in commands, name
