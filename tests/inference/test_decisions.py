"""Decisions: the probabilities are those of the scorer, whatever the order of the options."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import diffutron
from diffutron.evaluation.cetvel.protocols import PROTOCOLS
from diffutron.evaluation.cetvel.questions import Question
from diffutron.evaluation.scorers.masked_diffusion import MaskedDiffusion
from diffutron.inference.decisions import MAX_ROWS
from diffutron.inference.language_model import LanguageModel

QUESTION, CONTEXT = "Bu cümlenin konusu nedir?", "Kedi bahçede uyuyor."
OPTIONS = ["spor", "kültür ve sanat", "evcil"]


@pytest.fixture(scope="module")
def lm(tiny_model_dir) -> LanguageModel:
    return diffutron.load(tiny_model_dir, device="cpu")


def base(lm: LanguageModel) -> LanguageModel:
    return LanguageModel(lm.model, lm.tokenizer, lm.device, {"kind": "merged"})


def softmax(values: list[float], temperature: float = 1.0) -> list[float]:
    weights = [math.exp((value - max(values)) / temperature) for value in values]
    return [weight / sum(weights) for weight in weights]


def test_a_base_model_is_asked_in_text_as_score_is(lm) -> None:
    found = diffutron.decide(base(lm), QUESTION, OPTIONS, CONTEXT)
    scored = diffutron.score(lm, [(f"{CONTEXT}\n{QUESTION}", f" {option}") for option in OPTIONS])
    right = softmax([one.logprob for one in scored])
    assert [*found.probabilities] == OPTIONS
    assert [*found.probabilities.values()] == pytest.approx(right, abs=1e-6)
    assert found.choice == OPTIONS[right.index(max(right))]
    assert found.exact == all(one.exact for one in scored)
    assert diffutron.decide(lm, QUESTION, OPTIONS, CONTEXT, chat=False) == found


@pytest.mark.parametrize(("name", "tuned"), [("chat", True), ("corrected", False)])
@pytest.mark.parametrize("context", [CONTEXT, None])
def test_probabilities_are_those_of_the_leaderboards_scorer(lm, name, tuned, context) -> None:
    asked = lm if tuned else base(lm)
    found = diffutron.decide(asked, QUESTION, OPTIONS, context, seed=5)
    prompt = f"{context}\n{QUESTION}" if context else QUESTION
    question = Question("news_cat", 0, prompt, tuple(OPTIONS), " ", 0, "row 0", {})
    scorer = MaskedDiffusion(lm.model, lm.tokenizer, max_rows=MAX_ROWS, seed=5)
    (pairs,) = scorer.encode_questions([question], PROTOCOLS[name])
    right = softmax([score.logprob for score in scorer.score(pairs)])
    assert [*found.probabilities.values()] == pytest.approx(right, abs=1e-6)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.text("açsğ ye", min_size=1, max_size=9), min_size=1, max_size=4).filter(
        lambda some: all(map(str.strip, some)) and len({*map(str.strip, some)}) == len(some)
    ),
    st.randoms(use_true_random=False),
    st.sampled_from([True, False]),
)
def test_the_order_of_the_options_changes_nothing(lm, options, random, chat) -> None:
    found = diffutron.decide(lm, QUESTION, options, chat=chat, max_rows=8)
    assert sum(found.probabilities.values()) == pytest.approx(1)
    moved = [*options]
    random.shuffle(moved)
    again = diffutron.decide(lm, QUESTION, moved, chat=chat, max_rows=8)
    assert [*again.probabilities] == [option.strip() for option in moved]
    assert again.probabilities == pytest.approx(found.probabilities, abs=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_a_temperature_divides_the_scores(lm, temperature) -> None:
    found = diffutron.decide(lm, QUESTION, OPTIONS, temperature=temperature)
    scores = [score.logprob for score in found.scores.values()]
    right = softmax(scores, temperature)
    assert [*found.probabilities.values()] == pytest.approx(right, abs=1e-12)
    assert found.choice == diffutron.decide(lm, QUESTION, OPTIONS).choice


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", ["a"]), "question: it is empty"),
        ((" \n", ["a"], CONTEXT), "question: it is empty"),
        ((QUESTION, []), "options: need at least one"),
        ((QUESTION, ["a", " "]), "options: need at least one, and none that is empty"),
        ((QUESTION, ["a", "b", "a "]), "options: 'a' is there twice"),
        ((QUESTION, "spor"), "options: need a list of them"),
        ((QUESTION, ["kedi " * 100]), "question: has .* tokens with an option; the model holds"),
        ((QUESTION, ["a"], "kedi " * 100), "question: has .* the model holds 128"),
    ],
)
def test_what_is_wrong_is_named(lm, arguments, message) -> None:
    for chat in (True, False):
        with pytest.raises(ValueError, match=message):
            diffutron.decide(lm, *arguments, chat=chat)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_is_above_zero(lm, temperature) -> None:
    with pytest.raises(ValueError, match="temperature="):
        diffutron.decide(lm, QUESTION, OPTIONS, temperature=temperature)


def test_a_chat_needs_its_format(lm, monkeypatch) -> None:
    monkeypatch.setattr(lm.tokenizer, "chat_template", None)
    with pytest.raises(ValueError, match="chat=True: this model has no chat format"):
        diffutron.decide(lm, QUESTION, OPTIONS, chat=True)
    text = diffutron.decide(lm, QUESTION, OPTIONS)
    assert text == diffutron.decide(lm, QUESTION, OPTIONS, chat=False)
