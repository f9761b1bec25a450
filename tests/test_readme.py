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


def test_it_is_short(readme):
    assert len(readme.encode()) <= 12_000


def test_the_turkish_page_has_the_same_blocks_commands_links_and_pictures(readme, repo):
    """Its words are others, what a reader types and opens is not."""
    turkish = (repo / "README.tr.md").read_text(encoding="utf-8")
    for kind in (r"```.*?```", r"!\[[^]]+\]\(([^)]+)\)", r"\]\((?!README)([^)]+)\)"):
        found = [re.findall(kind, page, flags=re.DOTALL) for page in (readme, turkish)]
        assert found[0] == found[1]
    headings = [re.findall(r"^#+ ", page, flags=re.MULTILINE) for page in (readme, turkish)]
    assert headings[0] == headings[1]
    numbers = [re.findall(r"\d+", page) for page in (readme, turkish)]
    assert sorted(numbers[0]) == sorted(numbers[1])


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
