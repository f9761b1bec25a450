"""What a person may give wrongly to the leaderboard, and the one line that says so."""

import json
from pathlib import Path

import pytest

from diffutron.evaluation.leaderboard.leaderboard import leaderboard
from diffutron.runtime.errors import UserError


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": ["nonsense"]}, "unknown task 'nonsense'; allowed: belebele_tr"),
        ({"only": ["nonsense"]}, "unknown system 'nonsense'; allowed: random"),
        ({"protocol": "nonsense"}, "unknown protocol 'nonsense'; allowed: corrected"),
        ({"shots": 6}, "--shots 6"),
        ({"limit": 0}, "--limit 0"),
        ({"data": "nowhere"}, "--data nowhere: no such folder"),
        ({"only": ["other"]}, "other: its files cannot be loaded"),
        ({"only": ["absent"]}, "absent: there is no folder"),
        ({"systems": Path("none.yaml")}, "none.yaml does not exist"),
    ],
)
def test_mistakes_are_one_line(options, tmp_path, changes, message):
    given = {"only": ["random"], "tasks": ["ironytr"], **changes}
    with pytest.raises(UserError, match=message):
        leaderboard(options(tmp_path, **given))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "Ne hoş!"}, "row 1: field `label` is missing"),
        ({"text": "Ne hoş!", "label": 2}, "row 1: `label` = 2"),
    ],
)
def test_a_row_that_does_not_fit_is_one_line(options, tmp_path, row, message):
    (tmp_path / "ironytr.jsonl").write_text(json.dumps(row))
    with pytest.raises(UserError, match=message):
        leaderboard(options(tmp_path / "o", data=str(tmp_path), only=["random"], tasks=["ironytr"]))
