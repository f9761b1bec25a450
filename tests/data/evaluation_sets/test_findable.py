"""Which items the rule can find: the counts are those of items that were planted one by one."""

import pytest

from diffutron.config.section import TASKS
from diffutron.data.evaluation_sets.evaluation_sets import EvaluationSet, load_sets
from diffutron.data.evaluation_sets.findable import (
    FORMS,
    as_instruction,
    count_findable,
    findable_rows,
)
from diffutron.data.matching.decontaminate import Contamination, items_of


@pytest.fixture(scope="module")
def sample():
    sets, _ = load_sets(TASKS, source="sample")
    return {one.task: one for one in sets}


def test_an_item_that_is_too_short_is_counted_as_not_findable(make_params):
    rules = make_params().corpus.contamination
    texts = ("Bu da oldu.", "Bu da mı oldu?")
    rows = [{"row": row, "text": text, "label": 1} for row, text in enumerate(texts)]
    one = EvaluationSet("ironytr", "stand_in", rows, "here")
    assert findable_rows(one, rules) == {"document": [1], "instruction": [1]}
    assert count_findable([one], rules) == {
        "ironytr": {"items": 2, "document": 1, "instruction": 1}
    }


@pytest.mark.parametrize("task", TASKS)
def test_nearly_all_items_are_findable_and_stay_so_among_all_others(sample, make_params, task):
    rules = make_params().corpus.contamination
    few = EvaluationSet(task, task, sample[task].rows[:40], "sample")
    found = findable_rows(few, rules)
    assert all(len(rows) >= 38 for rows in found.values())
    index = Contamination(items_of(task, sample[task].rows), rules)
    for form, plant in FORMS.items():
        planted = {row["row"] for row in few.rows
                   if f"{task}:{row['row']}" in index.find_all(plant(row, task))}  # fmt: skip
        assert planted >= set(found[form])


def test_an_instruction_has_the_right_answer_alone(sample):
    row = sample["xcopa_tr"].rows[0]
    texts = [row["choice1"], row["choice2"]]
    said = as_instruction(row, "xcopa_tr")
    assert said == f"{row['premise']}\n{texts[row['label']]}"
    assert texts[1 - row["label"]] not in said
