"""The lm-eval model against likelihoods computed naively, and the traps of pair scoring."""

import itertools
import math
import subprocess
import sys
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance

from diffutron.config.section import TASKS
from diffutron.data.evaluation_sets.evaluation_sets import load_rows
from diffutron.evaluation.cetvel.asked import EvalTask
from diffutron.evaluation.cetvel.protocols import PROTOCOLS
from diffutron.evaluation.lm_eval_model import DiffutronLM
from diffutron.evaluation.scoring.answer_cache import AnswerCache
from diffutron.evaluation.scoring.answering import answer_all
from diffutron.evaluation.scoring.task_numbers import answered, summarize
from diffutron.modeling.encoding import begin_ids, encode_pairs

CONTEXT = "Kedi bahçede uyuyor, köpek nerede?"


def ask(*pairs: tuple[Any, Any], kind: str = "loglikelihood") -> list[Instance]:
    return [Instance(kind, {}, pair, n, ("test", n, 1)) for n, pair in enumerate(pairs)]  # type: ignore[arg-type]


@pytest.fixture
def make(tiny_model_dir):
    def start(**changes: Any) -> DiffutronLM:
        return DiffutronLM(str(tiny_model_dir), device="cpu", **{"max_rows": 31, **changes})

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
    plain = lm.scorer.fn
    lm.scorer.fn = lambda ids, *rest: (rows.append(len(ids)), plain(ids, *rest))[1]
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
    plain = lm.scorer.fn
    lm.scorer.fn = lambda ids, *rest: (seen.append(ids), plain(ids, *rest))[1]
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


def test_long_items_are_cut_or_windowed(make, tiny):
    lm = make(max_rows=4)
    long = "Kedi uyuyor. " * 80
    (cut, _), (windowed, _), (short, _) = lm.loglikelihood(
        ask((long, " evde"), (CONTEXT, " " + long), (CONTEXT, " evde"))
    )
    assert windowed < cut < 0
    assert math.isfinite(short)
    (pair,) = encode_pairs(tiny[1], [(long, " evde")])
    room = lm.scorer.max_length - 1 - len(pair.continuation)
    kept = tiny[1].decode(pair.context[-room:])
    assert lm.loglikelihood(ask((kept, " evde")))[0][0] == pytest.approx(cut, abs=1e-4)


def test_values_that_are_not_finite_stop_the_run(make):
    lm = make(max_rows=3)
    with torch.no_grad():
        lm.scorer.model.head.dense.weight.fill_(math.nan)
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


@pytest.mark.parametrize("name", TASKS)
def test_lm_eval_and_our_engine_give_every_item_the_same_answer(
    make, rows_dir, lm_eval_tasks, tmp_path, name
):
    """The values, the verdicts and both accuracies of each of the seven tasks."""
    from lm_eval import evaluator

    lm = make(max_rows=15)
    dataset = load_rows(name, source="local", folder=rows_dir)
    theirs: Any = evaluator.evaluate(
        lm, {"tasks": lm_eval_tasks([dataset])}, bootstrap_iters=0, log_samples=True
    )
    task = EvalTask.draw(dataset, PROTOCOLS["corrected"], limit=None, seed=0)
    cache = AnswerCache(tmp_path, (), name=name)
    found = answer_all(lm.scorer, task.questions, task.protocol, cache)
    items = [answered(one, found[one.key]) for one in task.questions]
    samples = sorted(theirs["samples"][name], key=lambda sample: sample["doc_id"])
    assert [sample["doc"]["row"] for sample in samples] == [item.row for item in items]
    for sample, item in zip(samples, items, strict=True):
        values = [response[0] for response in sample["filtered_resps"]]
        assert values == pytest.approx(item.logprobs, abs=1e-4)
        assert int(sample["target"]) == item.gold
        assert (bool(sample["acc"]), bool(sample["acc_norm"])) == (item.correct, item.correct_norm)
    ours, results = summarize(items, dataset), theirs["results"][name]
    assert (ours["acc"], ours["acc_norm"]) == pytest.approx(
        (results["acc,none"], results["acc_norm,none"])
    )


@pytest.mark.slow
def test_the_command_line_of_lm_eval_knows_the_model(tiny_model_dir, repo, tmp_path):
    command = [
        sys.executable, "-m", "diffutron.evaluation.lm_eval_model", "run",
        "--model", "diffutron", "--model_args", f"path={tiny_model_dir},max_rows=3",
        "--tasks", "ironytr", "--limit", "4", "--device", "cpu",
        "--include_path", str(repo / "diffutron/evaluation/cetvel"),
        "--metadata", '{"source": "sample"}', "--output_path", str(tmp_path),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "|ironytr|" in done.stdout.replace(" ", "")
