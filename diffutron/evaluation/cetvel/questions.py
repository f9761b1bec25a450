"""Rows of the evaluation sets as questions: context, choices and the index of the right one.

The words come from the task files of `cetvel/`, which lm-eval reads as well.
"""

import hashlib
import json
import random
from dataclasses import dataclass
from typing import Any

from diffutron.data.evaluation_sets.evaluation_sets import EvaluationSet
from diffutron.evaluation.cetvel.protocols import Protocol
from diffutron.evaluation.cetvel.task_files import (
    FEWSHOT_DELIMITER,
    TaskFile,
    own_task_file,
    task_file,
)

LISTED = {"belebele_tr"}  # the prompt lists the choices, so their order is part of the question
CONTINUED = {"xcopa_tr"}  # the choices continue a sentence, so it is no question
SHARED = {"belebele_tr": "flores_passage"}  # the field that several items have in common


@dataclass(frozen=True, slots=True)
class Question:
    """row: place in the source. gold: -1 where no choice is right. group: items of one passage
    have the same; no two others. normalization: what a value is divided by before values are
    compared: none, characters or bytes of the choice. part: of the task, whose parts have numbers
    of their own."""

    task: str
    row: int
    context: str
    choices: tuple[str, ...]
    delimiter: str
    gold: int
    group: str
    doc: dict[str, Any]
    normalization: str = "none"
    part: str | None = None

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The (context, continuation) strings to be scored."""
        return [(self.context, self.delimiter + choice) for choice in self.choices]

    @property
    def key(self) -> str:
        """A name for what is asked: equal for equal words, whatever file they came from."""
        asked = [self.task, self.context, self.delimiter, *self.choices]
        return hashlib.sha256(json.dumps(asked, ensure_ascii=False).encode()).hexdigest()[:32]


def ask(
    one: EvaluationSet,
    protocol: Protocol,
    *,
    shots: int = 0,
    training: EvaluationSet | None = None,
    seed: int = 0,
) -> list[Question]:
    """The questions of a set in the words of a protocol, in the order of its rows.

    shots: solved examples before each question, from `training` or, without it, from the other
    rows of the set that have an answer and another passage. Which ones depends on the seed and
    the row alone.
    """
    if one.own is not None:
        task, shots = own_task_file(one.task, one.own), 0 if one.own.pairs else shots
    else:
        two_way = one.stand_in == "mnli_tr"
        task = task_file(one.task, casing=protocol.casing, two_way=two_way)
    field = SHARED.get(one.task)
    questions = []
    for doc in one.rows:
        before = _examples(one, task, doc, shots, training, seed) if shots else ""
        group = f"row {doc['row']}"
        if field is not None:
            group = f"passage {hashlib.sha256(doc[field].encode()).hexdigest()[:12]}"
        elif one.clustered:
            group = doc["cluster"]
        questions.append(
            Question(
                task=one.name,
                row=doc["row"],
                context=before + task.context(doc),
                choices=tuple(task.options(doc)),
                delimiter=task.delimiter,
                gold=task.gold(doc),
                group=group,
                doc=doc,
                normalization=one.own.normalization if one.own else "none",
                part=doc.get("part") if one.own else None,
            )
        )
    return questions


def _examples(
    one: EvaluationSet,
    task: TaskFile,
    doc: dict[str, Any],
    shots: int,
    training: EvaluationSet | None,
    seed: int,
) -> str:
    """Solved examples, joined as lm-eval joins them."""
    pool = (training or one).rows
    field = SHARED.get(one.task)
    order = random.Random(f"{seed}:{one.name}:{doc['row']}")
    chosen: list[dict[str, Any]] = []
    # A passage may have many rows: draw more than needed and keep those that are fit.
    for other in order.sample(pool, min(len(pool), 10 * shots + 20)):
        same = other is doc or (field is not None and other[field] == doc[field])
        if not same and task.gold(other) >= 0:
            chosen.append(other)
        if len(chosen) == shots:
            break
    return "".join(solved(task, other) + FEWSHOT_DELIMITER for other in chosen)


def solved(task: TaskFile, doc: dict[str, Any]) -> str:
    """A row with its answer."""
    return task.context(doc) + task.delimiter + task.options(doc)[task.gold(doc)]
