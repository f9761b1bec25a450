"""A tuned model is asked as it was tuned, and the number of masks tells no choice from another."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffutron.data.evaluation_sets.evaluation_sets import load_sets
from diffutron.evaluation.cetvel.asked import EvalTask
from diffutron.evaluation.cetvel.protocols import PROTOCOLS
from diffutron.evaluation.cetvel.questions import Question
from diffutron.evaluation.scorers.masked_diffusion import MaskedDiffusion
from diffutron.evaluation.scoring import sanity_checks
from diffutron.evaluation.scoring.answering import answer_batches
from diffutron.modeling.tokenizer import END_OF_ANSWER, decode_answer, encode_answer, encode_prompt

CHAT, TEXT = PROTOCOLS["chat"], PROTOCOLS["corrected"]
CHOICES = st.lists(st.text("açsğ ye", min_size=1, max_size=12), min_size=2, max_size=4)


def question(context, choices):
    return Question("news_cat", 0, context, tuple(choices), " ", 0, "row 0", {})


@settings(max_examples=30, deadline=None)
@given(st.text("kedi ç?\n", max_size=20), CHOICES)
def test_all_choices_fill_one_canvas_after_the_same_prompt(tiny, context, choices):
    model, tokenizer = tiny
    scorer = MaskedDiffusion(model, tokenizer)
    (found,) = scorer.encode_questions([question(context, choices)], CHAT)
    answers = [tuple(encode_answer(tokenizer, choice)) for choice in choices]
    closing = tuple(tokenizer.convert_tokens_to_ids([END_OF_ANSWER, tokenizer.eos_token]))
    assert {len(pair) for pair in found} == {len(found[0].context) + max(map(len, answers))}
    for pair, answer, choice in zip(found, answers, choices, strict=True):
        assert pair.context == tuple(encode_prompt(tokenizer, context))
        assert decode_answer(tokenizer, pair.continuation) == choice.strip()
        if len({*map(len, answers)}) == 1:  # that they close here tells none from another
            assert (pair.continuation, pair.ending) == (answer[: -len(closing)], closing)
        else:  # the first token that closes a choice is scored, so that none begins as another
            assert pair.continuation == answer[: len(answer) - len(closing) + 1]
            assert {*pair.ending} <= {tokenizer.mask_token_id}
    different = {pair.continuation for pair in found}
    for one, other in itertools.permutations(different, 2):
        assert other[: len(one)] != one
    (plain,) = scorer.encode_questions([question(context, choices)], TEXT)
    assert plain == scorer.encode(question(context, choices).pairs, TEXT)


def test_with_everything_masked_the_choices_are_one_row(tiny, monkeypatch):
    """So a model that sees no answer gives all of them from the same probabilities."""
    model, tokenizer = tiny
    scorer = MaskedDiffusion(model, tokenizer, max_rows=2**12)
    asked = question("Konu nedir?", ["spor", "kültür ve sanat", "ekonomi"])
    seen, plain = set(), scorer.fn

    def watched(ids, mask, *rest):
        for n, row in enumerate(ids.tolist()):
            seen.add(tuple(row[: int(mask[n].sum())] if mask is not None else row))
        return plain(ids, mask, *rest)

    monkeypatch.setattr(scorer, "fn", watched)
    for protocol, rows in ((CHAT, 1), (TEXT, 3)):
        seen.clear()
        (pairs,) = scorer.encode_questions([asked], protocol)
        scorer.score(pairs)
        mask = tokenizer.mask_token_id
        whole = {(*p.context, *[mask] * len(p.continuation), *p.ending) for p in pairs}
        assert whole <= seen
        assert len(whole) == rows


def test_what_all_choices_end_with_costs_no_row(tiny, monkeypatch):
    model, tokenizer = tiny
    scorer = MaskedDiffusion(model, tokenizer)
    closing = tokenizer.convert_tokens_to_ids([END_OF_ANSWER, tokenizer.eos_token])
    texts = [tokenizer.decode([token]).strip() for token in range(20, len(tokenizer))]
    short = [text for text in texts if len(encode_answer(tokenizer, text)) == 1 + len(closing)]
    (pairs,) = scorer.encode_questions([question("Hangisi?", short[:3])], CHAT)
    seen, plain = [], scorer.fn
    monkeypatch.setattr(scorer, "fn", lambda ids, *rest: seen.extend(ids) or plain(ids, *rest))
    scores = scorer.score(pairs)
    (row,) = seen
    first = len(pairs[0].context)
    assert row[first:].tolist() == [tokenizer.mask_token_id, *closing]
    assert [(score.num_tokens, score.exact) for score in scores] == [(1, True)] * 3


@pytest.fixture
def tasks():
    found, _ = load_sets(["news_cat", "xcopa_tr"], source="sample", folder=None)
    return [EvalTask.draw(one, CHAT, limit=12, seed=1) for one in found]


def test_a_sentence_that_is_continued_stays_text(tasks):
    assert [task.protocol for task in tasks] == [CHAT, replace(CHAT, chat=False)]


def test_the_sanity_checks_hold_in_a_chat(tiny, tasks):
    scorer = MaskedDiffusion(*tiny, max_rows=4)
    for task in tasks:
        parts = answer_batches(scorer, task.questions, task.protocol)
        answers = {one.key: answer for part in parts for one, answer in part}
        for check in sanity_checks.OF_ANSWERS:
            found = check(scorer, task, answers)
            assert found.passed, (task.name, check.__name__, found.detail)


def test_a_tokenizer_without_chat_format_is_told(tiny, monkeypatch):
    model, tokenizer = tiny
    scorer = MaskedDiffusion(model, tokenizer)
    monkeypatch.setattr(tokenizer, "chat_template", None)
    with pytest.raises(ValueError, match="no chat template, which protocol chat needs"):
        scorer.encode_questions([question("Konu?", ["a", "b"])], CHAT)
