"""The seven evaluation sets of the sample, in the schemas of the sets that they stand in for.

Every sentence is on the evaluation side of the partition. Gold classes and positions are
balanced, and a bag of words of the choices, the length of a choice or of a text, say nothing.
"""

from collections import defaultdict
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from random import Random
from typing import Any

from diffutron.runtime.errors import UserError
from diffutron.sample import facts, moods, news, pairs
from diffutron.sample.partition import EVALUATION, TRAINING, side, told_in_text

Row = dict[str, Any]
# The largest relation comes last and fills up what the others leave.
_EXAM_QUOTAS = {
    "renk": 36, "kıta": 24, "malzeme": 16, "iş yeri": 16, "başkent": 28, "yaşam yeri": 12,
    "tür": 204,
}  # fmt: skip


def _belebele(rng: Random) -> list[Row]:
    rows = []
    while len(rows) < 200:
        sentences, question, answer, options = pairs.passage_item(rng, EVALUATION, 4)
        if side(question) != EVALUATION:
            continue
        gold = len(rows) % 4
        rng.shuffle(options)
        options.insert(gold, answer)
        rows.append(
            {
                "link": "", "question_number": 1, "flores_passage": " ".join(sentences),
                "question": question,
                **{f"mc_answer{i}": option for i, option in enumerate(options, start=1)},
                "correct_answer_num": str(gold + 1), "dialect": "tur_Latn", "ds": "",
            }
        )  # fmt: skip
    return rows


def _exam_pools(rng: Random, relation: str) -> dict[str, list[str]]:
    """Return for each answer the questions that training never asks in these words."""
    pools: dict[str, list[str]] = defaultdict(list)
    for fact in facts.facts():
        if fact.relation != relation:
            continue
        asked = facts.questions(fact)
        if sum(side(q) == TRAINING and not told_in_text(q) for q in asked) >= 2:
            pools[fact.answer].extend(q for q in asked if side(q) == EVALUATION)
    for pool in pools.values():
        rng.shuffle(pool)
    return {answer: pool for answer, pool in pools.items() if pool}


def _four_answers(rng: Random, pools: dict[str, list[str]]) -> list[str]:
    """Draw four answers, those with many questions left more often, so that none runs out first."""
    options: list[str] = []
    while len(options) < 4:
        left = {a: len(pool) for a, pool in pools.items() if pool and a not in options}
        options.append(rng.choices(list(left), weights=list(left.values()))[0])
    rng.shuffle(options)
    return options


def _exams(rng: Random) -> list[Row]:
    items: list[tuple[str, str, list[str]]] = []  # stem, answer, wrong options
    for relation, quota in _EXAM_QUOTAS.items():
        pools = _exam_pools(rng, relation)
        wanted = min(204, len(items) + quota)
        while len(items) < wanted and sum(map(bool, pools.values())) >= 4:
            answer, *wrong = _four_answers(rng, pools)
            items.append((pools[answer].pop(), answer, wrong))
    rng.shuffle(items)
    rows = []
    for index, (stem, answer, options) in enumerate(items):
        gold = index % 4
        options.insert(gold, answer)
        choices = {"text": options, "label": list("ABCD"), "para": [""] * 4}
        rows.append(
            {
                "id": f"ornek-{index:03d}", "question": {"stem": stem, "choices": choices},
                "answerKey": "ABCD"[gold],
                "info": {"grade": 8, "subject": "General", "language": "Turkish"},
            }
        )  # fmt: skip
    return rows


def _matched(
    rng: Random,
    classes: int,
    rounds: int,
    draw: Callable[[int], Row],
    text: Callable[[Row], str],
    *,
    spare: int,
) -> list[Row]:
    """Return `rounds` rows a class, whose lengths come from one distribution for all classes.

    `spare` times as many rows are drawn to choose from.

    The lengths of the classes are drawn independently: forced equality would make a length that
    is used up for one class a hint at the other.
    """
    pools = [_by_length(draw, label, spare * rounds, text) for label in range(classes)]
    common = {n: min(len(pool.get(n, ())) for pool in pools) for n in sorted(pools[0])}
    lengths = [n for n, count in common.items() for _ in range(count)]
    rows: list[Row] = []
    for pool in pools:
        taken = 0
        while taken < rounds:
            if candidates := pool[rng.choice(lengths)]:
                rows.append(candidates.pop())
                taken += 1
    rng.shuffle(rows)
    return rows


def _by_length(
    draw: Callable[[int], Row], label: int, count: int, text: Callable[[Row], str]
) -> dict[int, list[Row]]:
    """Draw `count` different held-out rows of a class, by the length of their text."""
    found: dict[str, Row] = {}
    while len(found) < count:
        row = draw(label)
        texts = (row[field] for field in ("text", "premise", "hypothesis") if field in row)
        if pairs.all_on(EVALUATION, (s for text in texts for s in text.split(". ") if s)):
            found[text(row)] = row
    pool: dict[int, list[Row]] = defaultdict(list)
    for written, row in found.items():
        pool[len(written)].append(row)
    return pool


def _irony(rng: Random) -> list[Row]:
    def draw(label: int) -> Row:
        return {"text": moods.remark_sentence(rng, ironic=label == 1), "label": label}

    return _matched(rng, 2, 100, draw, lambda row: row["text"], spare=3)


def _news(rng: Random) -> list[Row]:
    topics = list(news.LABELS)

    def draw(label: int) -> Row:
        sentences: list[str] = []
        while len(sentences) < 2:
            if side(sentence := news.news_sentence(rng, topics[label])) == EVALUATION:
                sentences.append(sentence)
        return {"text": " ".join(sentences), "label": news.LABELS[topics[label]]}

    return _matched(rng, len(topics), 40, draw, lambda row: row["text"], spare=10)


def _nli(rng: Random) -> list[Row]:
    def draw(label: int) -> Row:
        premise, hypothesis = pairs.inference_pair(rng, label, EVALUATION)
        return {"premise": premise, "hypothesis": hypothesis, "label": label}

    return _matched(rng, 3, 68, draw, lambda row: f"{row['premise']} {row['hypothesis']}", spare=5)


def _sts(rng: Random) -> list[Row]:
    rows: list[Row] = []
    while len(rows) < 204:
        changed = len(rows) % 6
        first, second = pairs.similar_pair(rng, changed, EVALUATION)
        score = min(5.0, max(0.0, 5 - changed + rng.choice((-0.2, 0.0, 0.2))))
        rows.append({"sentence1": first, "sentence2": second, "score": round(score, 1)})
    rng.shuffle(rows)
    return rows


def _xcopa(rng: Random) -> list[Row]:
    rows: list[Row] = []
    while len(rows) < 200:
        question, premise, right, wrong = pairs.cause_item(rng)
        if not pairs.all_on(EVALUATION, (premise, right, wrong)):
            continue
        label = len(rows) % 2
        first, second = (wrong, right) if label else (right, wrong)
        rows.append(
            {
                "premise": premise, "choice1": first, "choice2": second, "question": question,
                "label": label, "idx": len(rows), "changed": False,
            }
        )  # fmt: skip
    return rows


_SETS: dict[str, Callable[[Random], list[Row]]] = {
    "belebele_tr": _belebele, "exams_tr": _exams, "ironytr": _irony, "news_cat": _news,
    "mnli_tr": _nli, "sts_tr": _sts, "xcopa_tr": _xcopa,
}  # fmt: skip
TASKS = tuple(_SETS)


@cache
def _rows(task: str, seed: int) -> list[Row]:
    return _SETS[task](Random(f"{task} {seed}"))


def evaluation_set(task: str, seed: int = 13) -> list[Row]:
    """Return the rows of one task in the schema of its hub data set; UserError if unknown."""
    if task not in _SETS:
        raise UserError(f"sample has no evaluation set {task!r}; it has {', '.join(TASKS)}")
    return deepcopy(_rows(task, seed))
