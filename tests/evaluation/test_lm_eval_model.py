"""The lm-eval model against likelihoods computed naively, and the traps of pair scoring."""

import copy
import itertools
import math
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance

from diffutron.data.evaluation_sets.evaluation_sets import EvaluationSet
from diffutron.diffusion.likelihood.any_order import Score
from diffutron.evaluation.lm_eval_model import DiffusionLM, build_tasks, run_tasks
from diffutron.evaluation.scoring.task_numbers import (
    answered_items,
    summarize,
)
from diffutron.modeling.encoding import begin_ids, encode_pairs

CONTEXT = "Kedi bahçede uyuyor, köpek nerede?"


def ask(*pairs: tuple[Any, Any], kind: str = "loglikelihood") -> list[Instance]:
    return [Instance(kind, {}, pair, n, ("test", n, 1)) for n, pair in enumerate(pairs)]  # type: ignore[arg-type]


@pytest.fixture
def make(tiny):
    def start(**changes: Any) -> DiffusionLM:
        return DiffusionLM(*tiny, **{"max_rows": 31, **changes})

    return start


def naive_bound(tiny, context: list[int], continuation: list[int]) -> float:
    """The sum over sizes of the mean over subsets, one forward pass of the plain model a subset."""
    model, tokenizer = tiny
    length, total = len(continuation), 0.0
    for size in range(1, length + 1):
        values = []
        for hidden in itertools.combinations(range(length), size):
            ids = [*context, *continuation]
            for place in hidden:
                ids[len(context) + place] = tokenizer.mask_token_id
            with torch.no_grad():
                logits = model(torch.tensor([ids])).logits[0]
            logits[:, tokenizer.mask_token_id] = -math.inf
            logprobs = logits.log_softmax(-1)
            values.append(sum(logprobs[len(context) + i, continuation[i]].item() for i in hidden))
        total += sum(values) / len(values) / size
    return total


@pytest.mark.parametrize("continuation", [" k", " ke", " evde"])
def test_loglikelihood_matches_naive_enumeration(make, tiny, continuation):
    lm = make()
    ((value, greedy),) = lm.loglikelihood(ask((CONTEXT, continuation)))
    (pair,) = encode_pairs(tiny[1], [(CONTEXT, continuation)])
    assert len(pair.continuation) <= 5
    begin = begin_ids(tiny[1])
    expected = naive_bound(tiny, [*begin, *pair.context], list(pair.continuation))
    assert value == pytest.approx(expected, abs=1e-4)
    assert greedy is False
    score = lm.scores[(CONTEXT, continuation)]
    assert score.exact
    assert score.num_rows == 2 ** len(pair.continuation) - 1


def test_a_batch_of_one_equals_a_large_one(make):
    pairs = [(CONTEXT[:n], f" {word}") for n in (5, 12, 34) for word in ("evde", "bahçede", "k")]
    one = make(batch_tokens=1).loglikelihood(ask(*pairs))
    many = make(batch_tokens=100_000).loglikelihood(ask(*pairs))
    assert [v for v, _ in one] == pytest.approx([v for v, _ in many], abs=1e-4)


def test_order_and_repetition_of_requests_do_not_matter(make):
    pairs = [(CONTEXT, " evde"), (CONTEXT, " k"), (CONTEXT, " evde")]
    forward = [v for v, _ in make().loglikelihood(ask(*pairs))]
    backward = [v for v, _ in make().loglikelihood(ask(*pairs[::-1]))]
    assert forward == pytest.approx(backward[::-1], abs=1e-6)
    assert forward[0] == forward[2]


def test_one_token_choices_of_a_question_cost_one_row(make, tiny):
    every = [(CONTEXT, letter) for letter in "0123456789.,!"]
    lengths = [len(pair.continuation) for pair in encode_pairs(tiny[1], every)]
    letters = [pair for pair, length in zip(every, lengths, strict=True) if length == 1]
    assert len(letters) >= 4
    lm = make()
    rows = []
    plain = lm.fn
    lm.fn = lambda ids, *rest: (rows.append(len(ids)), plain(ids, *rest))[1]
    lm.loglikelihood(ask(*letters))
    assert rows == [1]


def test_white_space_at_the_end_of_a_context_belongs_to_the_choice(make):
    moved, written = make().loglikelihood(ask(("Soru?\n", " Evet"), ("Soru?", "\n Evet")))
    assert moved == written


def test_no_end_token_and_no_lost_token_reach_the_model(make, tiny):
    """The published scorer puts an end token before the choice and drops the choice's first."""
    tokenizer = tiny[1]
    lm = make()
    seen: list[torch.Tensor] = []
    plain = lm.fn
    lm.fn = lambda ids, *rest: (seen.append(ids), plain(ids, *rest))[1]
    lm.loglikelihood(ask((CONTEXT, " evde"), ("", " evde")))
    ids = {int(token) for batch in seen for token in batch.flatten()}
    assert tokenizer.eos_token_id not in ids
    (pair,) = encode_pairs(tokenizer, [(CONTEXT, " evde")])
    assert tokenizer.decode(pair.continuation).strip() == "evde"
    assert all(int(row[0]) == tokenizer.bos_token_id for batch in seen for row in batch)


def test_empty_sides_are_scored(make):
    lm = make()
    empty, without = lm.loglikelihood(ask((CONTEXT, ""), ("", " evde")))
    assert empty == (0.0, False)
    assert without[0] < 0


def test_long_items_are_cut_or_windowed_and_counted(make, tiny):
    lm = make(max_rows=4)
    long = "Kedi uyuyor. " * 80
    (cut, _), (windowed, _), (short, _) = lm.loglikelihood(
        ask((long, " evde"), (CONTEXT, " " + long), (CONTEXT, " evde"))
    )
    assert lm.counts == {"requests": 3, "straddled": 0, "truncated": 1, "windowed": 1}
    assert windowed < cut < 0
    assert math.isfinite(short)
    (pair,) = encode_pairs(tiny[1], [(long, " evde")])
    room = lm.max_length - 1 - len(pair.continuation)
    kept = tiny[1].decode(pair.context[-room:])
    assert lm.loglikelihood(ask((kept, " evde")))[0][0] == pytest.approx(cut, abs=1e-4)


def test_values_that_are_not_finite_stop_the_stage(tiny):
    model = copy.deepcopy(tiny[0])
    with torch.no_grad():
        model.head.dense.weight.fill_(math.nan)
    lm = DiffusionLM(model, tiny[1], max_rows=3)
    with pytest.raises(ValueError, match="NaN"):
        lm.loglikelihood(ask((CONTEXT, " k")))


def test_rolling_likelihood_matches_naive_enumeration(make, tiny):
    tokenizer = tiny[1]
    text = "Kedi"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(ids) <= 5
    (value,) = make().loglikelihood_rolling(ask((text,), kind="loglikelihood_rolling"))
    assert value == pytest.approx(naive_bound(tiny, begin_ids(tokenizer), ids), abs=1e-4)
    assert make().loglikelihood_rolling([]) == []


def test_generate_until_keeps_its_limits(make, tiny):
    lm = make()
    options = {"max_gen_toks": 6, "until": []}
    texts = lm.generate_until(
        ask(
            (CONTEXT, options),
            ("Kedi", options),
            ("Kedi", {"max_gen_toks": 2}),
            kind="generate_until",
        )
    )
    assert len(texts) == 3
    assert all(tiny[1].mask_token not in text for text in texts)
    again = make(batch_tokens=1).generate_until(ask(("Kedi", options), kind="generate_until"))
    assert again == [texts[1]]
    ids = tiny[1](texts[2], add_special_tokens=False)["input_ids"]
    assert len(ids) <= 2
    stop = texts[0].strip()[1:3] or "x"
    (cut,) = lm.generate_until(
        ask((CONTEXT, {**options, "until": [stop, ""]}), kind="generate_until")
    )
    assert cut == texts[0].split(stop)[0]
    (same,) = lm.generate_until(ask((CONTEXT, {**options, "until": stop}), kind="generate_until"))
    assert same == cut


IRONY = EvaluationSet(
    task="ironytr",
    name="ironytr",
    rows=[{"row": n + 1, "text": f"Gün {n}.", "label": n % 2} for n in range(6)],
    origin="test",
)
NLI = EvaluationSet(
    task="mnli_tr",
    name="standin_nli_2way_from_sts_tr",
    rows=[{"row": 1, "premise": "Bir.", "hypothesis": "İki.", "label": 1}],
    origin="test",
    stand_in="mnli_tr",
)
XCOPA = EvaluationSet(
    task="xcopa_tr",
    name="xcopa_tr",
    rows=[
        {
            "row": 1,
            "premise": "Ürün kırıldı.",
            "choice1": "İnceydi.",
            "choice2": "Isındı.",
            "question": "cause",
            "label": 0,
        }
    ],
    origin="test",
)


class Oracle(DiffusionLM):
    """Knows the answer of every IRONY row."""

    def score(self, pairs):
        right = {f"Gün {n}.": (" Hayır", " Evet")[n % 2] for n in range(6)}
        return [
            Score(
                -1.0 if right[context.split(": ")[1].split("\n")[0]] == choice else -2.0,
                0,
                1,
                1,
                True,
            )
            for context, choice in pairs
        ]


def test_an_oracle_gets_everything_right(tiny):
    lm = Oracle(*tiny, max_rows=1)
    samples = run_tasks(lm, build_tasks([IRONY], casing="turkish"), chosen={})
    items = answered_items(samples["ironytr"], lm.scores)
    found = summarize(items, IRONY)
    assert (found["n"], found["correct"], found["acc"]) == (6, 6, 1.0)
    assert [item.row for item in items] == [1, 2, 3, 4, 5, 6]
    assert found["recall"] == {"0": 1.0, "1": 1.0}
    assert found["p_value"] == pytest.approx(0.5**6)


def test_chosen_rows_are_scored_and_no_others(make):
    lm = make(max_rows=3)
    tasks = build_tasks([IRONY, NLI], casing="turkish")
    samples = run_tasks(lm, tasks, chosen={"ironytr": [1, 4]})
    assert [item.row for item in answered_items(samples["ironytr"], lm.scores)] == [2, 5]
    (two_way,) = answered_items(samples["mnli_tr"], lm.scores)
    assert two_way.choices == ["TUTARLI", "ALAKASIZ"]
    found = summarize([two_way], NLI)
    assert found["chance"] == 0.5
    assert found["stand_in"] == "mnli_tr"
    again = run_tasks(lm, tasks, chosen={"ironytr": [0]})
    assert len(again["ironytr"]) == 1, "tasks serve several models"


@pytest.mark.parametrize(
    ("casing", "choices"),
    [("turkish", ["inceydi.", "ısındı."]), ("cetvel", ["i\u0307nceydi.", "isındı."])],
)
def test_casing_of_choices_is_a_parameter(make, casing, choices):
    lm = make(max_rows=3)
    samples = run_tasks(lm, build_tasks([XCOPA], casing=casing), chosen={})
    (item,) = answered_items(samples["xcopa_tr"], lm.scores)
    assert item.choices == choices
    assert item.gold == 0


def test_lm_eval_is_loud_again_afterwards(make):
    import logging

    import lm_eval.api.task

    bar, level = lm_eval.api.task.tqdm, logging.getLogger("lm_eval").level
    run_tasks(make(max_rows=2), build_tasks([IRONY], casing="turkish"), chosen={"ironytr": [0]})
    assert lm_eval.api.task.tqdm is bar
    assert logging.getLogger("lm_eval").level == level
