"""Baselines worked by hand, and the cache of answers."""

import math

import pytest

from diffutron.data.evaluation_sets.evaluation_sets import load_rows
from diffutron.evaluation.cetvel.protocols import PROTOCOLS
from diffutron.evaluation.cetvel.questions import Question, ask
from diffutron.evaluation.scorers import baselines
from diffutron.evaluation.scorers.answer import Answer
from diffutron.evaluation.scorers.bag_of_words import answer
from diffutron.evaluation.scoring.answer_cache import AnswerCache
from diffutron.evaluation.scoring.task_numbers import answered


def question(*choices, gold=0, context="Soru", row=1):
    return Question("x", row, context, choices, " ", gold, f"row {row}", {})


def chosen(answers):
    return [one.logprobs.index(max(one.logprobs)) for one in answers]


def test_longest_and_shortest_take_the_first_of_equals():
    asked = [question("ab", "abc", "xyz", "a", "b")]
    assert chosen(baselines.longest_choice(asked)) == [1]
    assert chosen(baselines.shortest_choice(asked)) == [3]


def test_constant_is_the_commonest_answer_and_ignores_items_without_one():
    asked = [question("a", "b", "c", gold=g) for g in (2, -1, -1, -1, 1, 2)]
    assert chosen(baselines.constant_choice(asked)) == [2] * 6


def test_random_depends_on_words_alone_and_is_uniform():
    asked = [question("a", "b", "c", "d", context=f"Soru {n}") for n in range(2000)]
    first = chosen(baselines.random_choice(asked))
    assert first == chosen(baselines.random_choice(asked))
    counts = [first.count(k) for k in range(4)]
    assert all(abs(count - 500) < 4 * math.sqrt(2000 * 3 / 16) for count in counts)
    turned = baselines.random_choice([question("b", "a", context="Soru")])[0].logprobs
    assert turned == baselines.random_choice([question("a", "b", context="Soru")])[0].logprobs[::-1]


def test_unigram_counts_words_of_a_training_text():
    model = baselines.Unigram(["kedi kedi köpek", "Kedi"])
    (found,) = model([question("kedi", "köpek", "kuş", "kedi köpek")])
    total = 4 + 2 + 1  # words, kinds, and one for what was never seen
    assert found.logprobs[:3] == [math.log(4 / total), math.log(2 / total), math.log(1 / total)]
    assert found.logprobs[3] == pytest.approx(math.log(4 / total) + math.log(2 / total))
    assert found.by_length


def test_an_answer_without_a_likelihood_has_one_accuracy():
    item = answered(question("uzunca", "kısa", gold=1), Answer.of_choice(1, 2))
    assert item.correct
    assert item.correct_norm
    scored = Answer([-6.0, -5.0], [0.0, 0.0], [1, 1], exact=True)
    item = answered(question("uzunca", "kısa", gold=1), scored)
    assert (item.predicted, item.predicted_norm) == (1, 0), "-1 a letter beats -1.25"


def test_bag_of_words_reads_the_question(rows_dir):
    from diffutron.data.evaluation_sets.evaluation_sets import training_set

    for task in ("news_cat", "sts_tr", "exams_tr"):
        asked = ask(load_rows(task, source="local", folder=rows_dir), PROTOCOLS["corrected"])
        training = training_set(task, source="local", folder=rows_dir)
        assert training is not None
        found = answer(task, training.rows, asked)
        assert [len(one.logprobs) for one in found] == [len(one.choices) for one in asked]
        assert not found[0].by_length


def test_bag_of_words_of_two_classes_never_answers_a_third():
    rows = [{"text": f"{'maç' if n % 2 else 'borsa'} {n}", "label": ("economy", "sport")[n % 2]}
            for n in range(12)]  # fmt: skip
    asked = [Question("news_cat", 1, "", ("spor", "magazin", "siyaset", "sağlık", "ekonomi"), " ",
                      0, "row 1", {"text": "maç"})]  # fmt: skip
    assert chosen(answer("news_cat", rows, asked)) == [0]


def test_cache_keeps_answers_apart_and_survives_a_torn_line(tmp_path):
    first = AnswerCache(tmp_path, ("digest", 16), name="x")
    second = AnswerCache(tmp_path, ("digest", 17), name="x")
    other_rank = AnswerCache(tmp_path, ("digest", 16), name="x", rank=1)
    value = Answer([-1.5, -2.0], [0.0, 0.1], [1, 2], exact=False)
    first.append([("a", value), ("b", value)])
    other_rank.append([("c", value)])
    assert set(first.read()) == {"a", "b", "c"}
    assert first.read()["a"] == value
    assert second.read() == {}
    first.path.write_bytes(first.path.read_bytes()[:-10])
    assert set(first.read()) == {"a", "c"}
    first.append([("d", value)])
    assert set(first.read()) == {"a", "c", "d"}
