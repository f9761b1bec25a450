"""No shortcut solves an evaluation set: constants, lengths, words of the choices."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

from diffutron import sample
from diffutron.sample.partition import words

pytestmark = pytest.mark.slow

CHOICES: dict[str, Callable[[dict[str, Any]], tuple[list[str], int]]] = {
    "belebele_tr": lambda r: (
        [r[f"mc_answer{i}"] for i in range(1, 5)],
        int(r["correct_answer_num"]) - 1,
    ),
    "exams_tr": lambda r: (
        r["question"]["choices"]["text"],
        r["question"]["choices"]["label"].index(r["answerKey"]),
    ),
    "xcopa_tr": lambda r: ([r["choice1"], r["choice2"]], r["label"]),
}
LABELS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "ironytr": lambda r: r["label"],
    "news_cat": lambda r: r["label"],
    "mnli_tr": lambda r: r["label"],
    "sts_tr": lambda r: int(r["score"] + 0.5),
}
SEEDS = (13, 14)


def at_chance(correct: int, n: int, chance: float) -> bool:
    low, high = binom.interval(0.999, n, chance)
    return low <= correct <= high


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("task", CHOICES)
def test_gold_positions_are_balanced(task: str, seed: int) -> None:
    items = [CHOICES[task](row) for row in sample.evaluation_set(task, seed)]
    counts = Counter(gold for _, gold in items)
    assert len(items) >= 200
    assert max(counts.values()) - min(counts.values()) <= 1
    assert len(counts) == len(items[0][0])
    assert all(len(set(options)) == len(options) for options, _ in items)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("task", LABELS)
def test_classes_are_balanced(task: str, seed: int) -> None:
    counts = Counter(LABELS[task](row) for row in sample.evaluation_set(task, seed))
    assert sum(counts.values()) >= 200
    assert len(set(counts.values())) == 1
    assert len(counts) == {"ironytr": 2, "news_cat": 5, "mnli_tr": 3, "sts_tr": 6}[task]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("task", CHOICES)
@pytest.mark.parametrize("rule", [min, max])
def test_shortest_or_longest_choice_is_at_chance(task: str, seed: int, rule: Any) -> None:
    items = [CHOICES[task](row) for row in sample.evaluation_set(task, seed)]
    hits = 0.0
    for options, gold in items:
        best = rule(map(len, options))
        tied = [i for i, option in enumerate(options) if len(option) == best]
        hits += (gold in tied) / len(tied)
    assert at_chance(round(hits), len(items), 1 / len(items[0][0]))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("task", CHOICES)
def test_bag_of_words_of_the_choices_is_at_chance(task: str, seed: int) -> None:
    items = [CHOICES[task](row) for row in sample.evaluation_set(task, seed)]
    texts = [option for options, _ in items for option in options]
    target = np.array([i == gold for options, gold in items for i in range(len(options))])
    groups = np.repeat(np.arange(len(items)), len(items[0][0]))
    model = make_pipeline(CountVectorizer(analyzer=words), LogisticRegression(max_iter=500))
    scores = cross_val_predict(
        model, texts, target, groups=groups, cv=GroupKFold(5), method="predict_proba"
    )[:, 1].reshape(len(items), -1)
    correct = int(sum(scores.argmax(1) == [gold for _, gold in items]))
    assert at_chance(correct, len(items), 1 / scores.shape[1])


def _lengths(task: str, row: dict[str, Any]) -> list[int]:
    if task == "mnli_tr":
        both = f"{row['premise']} {row['hypothesis']}"
        return [len(both), len(both.split()), len(row["hypothesis"])]
    if task == "sts_tr":
        both = f"{row['sentence1']} {row['sentence2']}"
        return [len(both), len(both.split())]
    return [len(row["text"]), len(row["text"].split())]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("task", LABELS)
def test_length_of_the_text_is_at_chance(task: str, seed: int) -> None:
    rows = sample.evaluation_set(task, seed)
    labels = np.array([LABELS[task](row) for row in rows])
    lengths = np.array([_lengths(task, row) for row in rows])
    for column in range(lengths.shape[1]):
        predicted = cross_val_predict(
            DecisionTreeClassifier(max_depth=3, random_state=0),
            lengths[:, [column]],
            labels,
            cv=StratifiedKFold(5, shuffle=True, random_state=0),
        )
        assert at_chance(int(sum(predicted == labels)), len(rows), 1 / len(set(labels)))


@pytest.mark.parametrize("seed", SEEDS)
def test_no_single_word_decides_irony(seed: int) -> None:
    """Each event and each remark is as often ironic as sincere, over many draws."""
    rows = [r for s in range(seed, seed + 4) for r in sample.evaluation_set("ironytr", s)]
    seen: dict[str, Counter[int]] = {}
    for row in rows:
        for word in set(words(row["text"])):
            seen.setdefault(word, Counter())[row["label"]] += 1
    for word, counts in seen.items():
        assert 0 < counts[1] < sum(counts.values()) or sum(counts.values()) < 12, word


def test_premise_alone_says_nothing_and_hypothesis_alone_little() -> None:
    """A denial is more often a contradiction, as in the real set; it never decides."""
    rows = [r for s in range(5) for r in sample.evaluation_set("mnli_tr", s)]
    labels = np.array([row["label"] for row in rows])
    for field in ("premise", "hypothesis"):
        model = make_pipeline(CountVectorizer(analyzer=words), LogisticRegression(max_iter=500))
        predicted = cross_val_predict(model, [row[field] for row in rows], labels, cv=5)
        correct = int(sum(predicted == labels))
        assert correct / len(rows) < 0.5
        if field == "premise":
            assert at_chance(correct, len(rows), 1 / 3)


@pytest.mark.parametrize("phase", [1, 2])
def test_best_constant_answer_is_at_most_five_percent(
    phases: dict[int, list[dict[str, str]]], phase: int
) -> None:
    rows = phases[phase]
    answers = Counter(row["output" if phase == 1 else "Output"] for row in rows)
    assert max(answers.values()) / len(rows) <= 0.05
