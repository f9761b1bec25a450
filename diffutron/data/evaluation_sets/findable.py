"""Which evaluation items the rule would find, if they stood in a training text word for word.

An item that is too short to be told from chance is not found, wherever it stands: a count of
contaminated items says nothing of it. So each item is planted, and what is found is counted.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from diffutron.config.data_params import ContaminationRules
from diffutron.data.evaluation_sets.evaluation_sets import EvaluationSet
from diffutron.data.matching.decontaminate import Contamination, item_texts, items_of
from diffutron.runtime.files import content_digest, read_json, write_json

Row = Mapping[str, Any]
CACHE = ".contamination"  # beside the output of a stage: what was measured and searched
RULES = set(ContaminationRules.model_fields)
PACKAGE = Path(__file__).resolve().parents[2]
DECIDING_CODE = (
    "data/evaluation_sets/findable.py",
    "data/matching/decontaminate.py",
    *(f"text/{name}.py" for name in ("fold", "language", "normalize", "repair", "turkish")),
)
AROUND = "Bu yazı başka bir konudan söz eder."  # before and after a planted item


def as_document(row: Row, task: str) -> str:
    """All texts of an item, one after the other, as a page would print them."""
    return " ".join(text.strip() for text in item_texts(row, task))


def as_instruction(row: Row, task: str) -> str:
    """What an item asks, and under it the right answer alone, without the passage and the other
    choices: the least that a row of instructions can give away."""
    asked, answer = ASKED.get(task, _own)(row)
    return f"{asked}\n{answer}"


def _exam(row: Row) -> tuple[str, str]:
    choices, key = row["question"]["choices"], row["answerKey"].strip()
    place = choices["label"].index(key) if key in choices["label"] else 3
    return row["question"]["stem"], choices["text"][place]


def _own(row: Row) -> tuple[str, str]:
    """Of any other task."""
    return row["context"], row["choices"][row["gold"]]


ASKED: dict[str, Callable[[Row], tuple[str, str]]] = {
    "belebele_tr": lambda row: (row["question"], row[f"mc_answer{row['correct_answer_num']}"]),
    "exams_tr": _exam,
    "ironytr": lambda row: (row["text"], ("ironi yok", "ironi")[row["label"]]),
    "news_cat": lambda row: (row["text"], row["label"]),
    "mnli_tr": lambda row: (f"{row['premise']}\n{row['hypothesis']}", str(row["label"])),
    "sts_tr": lambda row: (f"{row['sentence1']}\n{row['sentence2']}", str(row["score"])),
    "xcopa_tr": lambda row: (row["premise"], row[f"choice{row['label'] + 1}"]),
}
FORMS = {"document": as_document, "instruction": as_instruction}


def findable_rows(one: EvaluationSet, rules: ContaminationRules) -> dict[str, list[int]]:
    """By form: the rows of a set that are found where they are planted.

    Each row is planted before an index of itself, so a similar item is not taken for it.
    """
    found: dict[str, list[int]] = {form: [] for form in FORMS}
    for row in one.rows:
        index = Contamination(items_of(one.name, [row], one.task), rules)
        for form, plant in FORMS.items():
            if index.find(f"{AROUND}\n{plant(row, one.task)}\n{AROUND}"):
                found[form].append(row["row"])
    return found


def findable_in(
    sets: Iterable[EvaluationSet], rules: ContaminationRules, cache_folder: Path
) -> dict[str, dict[str, list[int]]]:
    """`findable_rows` of each set, by name; measured once, kept in `cache_folder`.

    What is kept belongs to the rows, the rule and the code that decides.
    """
    code = content_digest(PACKAGE / name for name in DECIDING_CODE)
    found = {}
    for one in sets:
        asked = [rules.model_dump(include=RULES), one.name, one.task, one.digest, code]
        key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]
        path = cache_folder / f"findable-{key}.json"
        if not path.is_file():
            write_json(path, findable_rows(one, rules))
        found[one.name] = read_json(path)
    return found


def count_findable(
    sets: Sequence[EvaluationSet], rules: ContaminationRules, cache_folder: Path
) -> dict[str, dict[str, int]]:
    """By task: `items`, and how many of them are findable in each form."""
    found = findable_in(sets, rules, cache_folder)
    return {
        one.task: {"items": len(one.rows)}
        | {form: len(rows) for form, rows in found[one.name].items()}
        for one in sets
    }
