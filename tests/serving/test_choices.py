"""From tokens to text: what a stream may send before the end."""

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from diffutron.serving.choices import Choice, Planner


@pytest.fixture(scope="module")
def planner(lm) -> Planner:
    return Planner(lm)


def test_a_stream_never_takes_back(planner) -> None:
    size = planner.lm.vocab_size

    @hypothesis(max_examples=300, deadline=None)
    @given(
        ids=st.lists(st.integers(5, size - 1), max_size=12),
        chat=st.booleans(),
        stops=st.lists(st.text("Kedi bahç", min_size=1, max_size=3), max_size=2),
    )
    def check(ids, chat, stops) -> None:
        choice = Choice(None, [], 0, chat, tuple(stops), None)
        whole = planner.text(choice, ids)
        sent = ""
        for stop in range(len(ids) + 1):
            now = planner.text_so_far(choice, ids[:stop])
            assert whole.startswith(now)
            assert now.startswith(sent)
            sent = now

    check()


def test_the_pieces_of_tokens_are_the_text(planner) -> None:
    @hypothesis(max_examples=200, deadline=None)
    @given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
    def check(text) -> None:
        ids = planner.lm.tokenizer(text, add_special_tokens=False)["input_ids"]
        assert "".join(planner.pieces(ids)) == planner.reader.decode(ids)
        assert len(planner.pieces(ids)) == len(ids)

    check()
    assert planner.pieces([]) == []
