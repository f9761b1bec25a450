"""Promotion moves one alias and writes down who, why, when and from where."""

import pytest

from diffutron.errors import UserError
from diffutron.registry.promote import champion, history, promote
from diffutron.registry.tracking import tracking


@pytest.fixture
def versions(store):
    """A registered model with three versions."""
    with tracking() as client:
        client.create_registered_model("diffutron")
        for _ in range(3):
            client.create_model_version("diffutron", source=store.as_uri())


def current():
    with tracking() as client:
        return champion(client)


@pytest.mark.usefixtures("versions")
def test_first_promotion_has_no_predecessor():
    assert current() is None
    decision = promote(2, by="Ayşe", reason="answers best")
    assert (decision.version, decision.previous) == (2, None)
    assert current() == 2


@pytest.mark.usefixtures("versions")
def test_history_tells_every_move_in_order():
    promote(1, by="Ayşe", reason="first")
    promote(3, by="Ali", reason="better")
    promote(1, by="Ayşe", reason="back: 3 repeats itself")
    moves = [(p.version, p.previous, p.by, p.reason) for p in history()]
    assert moves == [
        (1, None, "Ayşe", "first"),
        (3, 1, "Ali", "better"),
        (1, 3, "Ayşe", "back: 3 repeats itself"),
    ]
    assert [p.at for p in history()] == sorted(p.at for p in history())


@pytest.mark.usefixtures("versions")
@pytest.mark.parametrize(
    ("version", "by", "reason", "message"),
    [
        (9, "Ayşe", "best", "diffutron has no version 9; there are: 1, 2, 3"),
        (1, " ", "best", "--by is empty"),
        (1, "Ayşe", "", "--reason is empty"),
    ],
)
def test_bad_input_moves_nothing(version, by, reason, message):
    with pytest.raises(UserError, match=message):
        promote(version, by=by, reason=reason)
    assert current() is None
    assert history() == []


@pytest.mark.usefixtures("versions")
def test_the_champion_is_not_promoted_again():
    promote(1, by="Ayşe", reason="best")
    with pytest.raises(UserError, match="version 1 is the champion already"):
        promote(1, by="Ayşe", reason="best")
    assert len(history()) == 1


@pytest.mark.usefixtures("store")
def test_without_a_model_the_error_says_what_to_do():
    with pytest.raises(UserError, match="no registered model diffutron; `diffutron register`"):
        promote(1, by="Ayşe", reason="best")
    with pytest.raises(UserError, match="no registered model"):
        history()
