"""Promotion moves one alias and writes down who, why, when and from where."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from diffutron.registry.history import history
from diffutron.registry.mlflow_client import tracking
from diffutron.registry.promote import CHALLENGER, alias, champion, decisions, promote, rollback
from diffutron.runtime.errors import UserError

pytestmark = pytest.mark.slow


@pytest.fixture
def versions(store):
    """A registered model with three versions."""
    with tracking(make=True) as client:
        client.create_registered_model("diffutron")
        for _ in range(3):
            client.create_model_version("diffutron", source=store.as_uri())


def current():
    with tracking(make=True) as client:
        return champion(client)


@pytest.mark.usefixtures("versions")
def test_first_promotion_has_no_predecessor():
    assert current() is None
    decision = promote(2, by="kurul", reason="answers best")
    assert (decision.version, decision.previous) == (2, None)
    assert current() == 2


def made() -> list:
    with tracking(make=True) as client:
        return decisions(client)


@pytest.mark.usefixtures("versions")
def test_history_tells_every_move_in_order():
    promote(1, by="kurul", reason="first")
    promote(3, by="Ali", reason="better")
    promote(1, by="kurul", reason="back: 3 repeats itself")
    moves = [(p.version, p.previous, p.by, p.reason) for p in made()]
    assert moves == [
        (1, None, "kurul", "first"),
        (3, 1, "Ali", "better"),
        (1, 3, "kurul", "back: 3 repeats itself"),
    ]
    assert [p.at for p in made()] == sorted(p.at for p in made())


@pytest.mark.usefixtures("versions")
@pytest.mark.parametrize(
    ("version", "by", "reason", "message"),
    [
        (9, "kurul", "best", "diffutron has no version 9; there are: 1, 2, 3"),
        (1, " ", "best", "--by is empty"),
        (1, "kurul", "", "--reason is empty"),
        (1, "Ay\x1b[2Jşe", "best", "--by: need printable text"),
        (1, "kurul", "x" * 1001, "--reason: need printable text of at most 1000"),
    ],
)
def test_bad_input_moves_nothing(version, by, reason, message):
    with pytest.raises(UserError, match=message):
        promote(version, by=by, reason=reason)
    assert current() is None
    assert made() == []


@pytest.mark.usefixtures("versions")
def test_the_champion_is_not_promoted_again():
    promote(1, by="kurul", reason="best")
    with pytest.raises(UserError, match="version 1 is the champion already"):
        promote(1, by="kurul", reason="best")
    assert len(made()) == 1


@pytest.mark.usefixtures("store")
def test_without_a_model_the_error_says_what_to_do():
    with pytest.raises(UserError, match="no registered model diffutron; `diffutron register`"):
        promote(1, by="kurul", reason="best")
    with pytest.raises(UserError, match="no registered model"):
        history()


def move_by_hand(which: str, version: int) -> None:
    with tracking(make=True) as client:
        client.set_registered_model_alias("diffutron", which, str(version))


@pytest.mark.usefixtures("versions")
def test_the_challenger_ends_with_the_promotion():
    move_by_hand(CHALLENGER, 2)
    promote(1, by="kurul", reason="first")
    with tracking(make=True) as client:
        assert alias(client, CHALLENGER) == 2
    promote(2, by="kurul", reason="better")
    with tracking(make=True) as client:
        assert alias(client, CHALLENGER) is None


@pytest.mark.usefixtures("versions")
def test_a_decision_holds_only_against_the_champion_it_was_taken_against():
    promote(1, by="kurul", reason="first", expected_champion=0, evidence={"holds": True})
    for other in (0, 3):
        with pytest.raises(UserError, match="moved to version 1 by kurul at .*compare again"):
            promote(2, by="Ali", reason="better", expected_champion=other)
    assert current() == 1
    promote(2, by="Ali", reason="better", expected_champion=1)
    assert [one.evidence for one in made()] == [{"holds": True}, {}]


@pytest.mark.usefixtures("versions")
def test_the_gate_is_overruled_only_on_record():
    failed = {"holds": False, "failed": ["mean accuracy: -0.1, wanted above 0", "model card"]}
    with pytest.raises(UserError, match=r"mean accuracy: .* \(and 1 more\); nothing moved"):
        promote(1, by="kurul", reason="first", evidence=failed)
    assert (current(), made()) == (None, [])
    promote(1, by="kurul", reason="first", evidence=failed, override_gate=True)
    promote(2, by="kurul", reason="better", evidence={"holds": True}, override_gate=True)
    assert [one.override_gate for one in made()] == [True, False]


@pytest.mark.usefixtures("versions")
def test_of_twenty_promotions_at_once_one_wins():
    def one(number: int) -> str:
        try:
            promote(number % 3 + 1, by=f"person {number}", reason="now", expected_champion=0)
        except UserError as error:
            return str(error)
        return "won"

    with ThreadPoolExecutor(20) as pool:
        told = list(pool.map(one, range(20)))
    assert told.count("won") == 1
    (decision,) = made()
    assert current() == decision.version
    allowed = ("another promotion", "the champion of", "is the champion already", "locked")
    assert all(answer == "won" or any(one in answer for one in allowed) for answer in told), told


@pytest.mark.usefixtures("versions")
def test_a_lock_left_by_a_killed_command_is_taken_away(monkeypatch):
    with tracking(make=True) as client:
        client.create_registered_model("diffutron.promotion-lock")
    with pytest.raises(UserError, match="another promotion of diffutron is under way"):
        promote(1, by="kurul", reason="first")
    monkeypatch.setattr("diffutron.registry.promote.STALE", 0.0)
    promote(1, by="kurul", reason="first")
    with tracking(make=True) as client:
        assert not client.search_registered_models("name='diffutron.promotion-lock'")


@pytest.mark.usefixtures("versions")
def test_rollback_takes_away_what_was_promoted_after():
    with pytest.raises(UserError, match="no champion; there is nothing to roll back"):
        rollback(by="kurul")
    for version in (1, 2, 3):
        promote(version, by="kurul", reason="better")
    assert rollback(by="Ali").version == 2
    assert rollback(by="Ali").version == 1
    with pytest.raises(UserError, match="no champion of diffutron before version 1 is on record"):
        rollback(by="Ali")
    assert rollback(3, by="Ali", reason="was good after all").previous == 1
    with pytest.raises(UserError, match="version 3 is the champion already"):
        rollback(3, by="Ali")
    with pytest.raises(UserError, match="no version 9"):
        rollback(9, by="Ali")
    assert current() == 3


@pytest.mark.usefixtures("versions")
def test_history_marks_what_was_moved_by_hand():
    promote(1, by="kurul", reason="first")
    move_by_hand("champion", 2)
    assert rollback(by="Ali").version == 1
    move_by_hand("champion", 3)
    moves = [(one.alias, one.previous, one.version, one.kind) for one in history()]
    assert moves == [
        ("champion", None, 1, "promotion"),
        ("champion", 1, 2, "by hand"),
        ("champion", 2, 1, "rollback"),
        ("champion", 1, 3, "by hand"),
    ]
    shown = [str(one) for one in history()]
    assert shown[1].startswith("moved by hand")
    assert shown[0].endswith("champion: none -> version 1, promotion by kurul: first")
