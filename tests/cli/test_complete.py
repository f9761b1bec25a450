"""What a shell is offered: names that exist, and nothing where they cannot be read."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from diffutron.cli import complete
from diffutron.cli.app import app


def offered(*words: str) -> list[str]:
    """What bash would offer for the last word."""
    environment = {
        "_DIFFUTRON_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["diffutron", *words]),
        "COMP_CWORD": str(len(words)),
    }
    return CliRunner().invoke(app, [], env=environment, prog_name="diffutron").output.split()


@pytest.fixture
def project(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repo)


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("instru",), {"instructions", "instruct_phase1", "instruct_phase2"}),
        (("why", "instru"), {"instructions", "instruct_phase1", "instruct_phase2"}),
        (("params", "--profile", "de"), {"demo"}),
        (("plan", "--profile", "pa"), {"paper"}),
        (("leaderboard", "--only", "uni"), {"unigram"}),
    ],
)
def test_names_that_begin_so(words, expected):
    assert set(offered(*words)) == expected


def test_elsewhere_nothing_is_offered_and_nothing_made():
    assert offered("leaderboard", "--only", "uni") == []
    assert offered("params", "--profile", "de") == []
    assert offered("promote", "") == []
    assert not [*Path.cwd().iterdir()]


def test_versions_and_aliases(monkeypatch):
    monkeypatch.setattr(complete, "_versions", lambda: ["challenger", "champion", "1", "12"])
    offer = complete._offers(lambda: complete._versions())
    assert offer("ch") == ["challenger", "champion"]
    assert offer("1") == ["1", "12"]
