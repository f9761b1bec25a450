"""Which items the rule can find: the counts are those of items that were planted one by one."""

import ast
from pathlib import Path

import pytest

from diffutron.config.section import TASKS
from diffutron.data.evaluation_sets import findable
from diffutron.data.evaluation_sets.evaluation_sets import EvaluationSet, load_sets
from diffutron.data.evaluation_sets.findable import (
    DECIDING_CODE,
    FORMS,
    PACKAGE,
    as_instruction,
    count_findable,
    findable_rows,
)
from diffutron.data.matching.decontaminate import Contamination, items_of
from tests.test_stage_code import files_of, imported


@pytest.fixture(scope="module")
def sample():
    sets, _ = load_sets(TASKS, source="sample")
    return {one.task: one for one in sets}


def test_an_item_that_is_too_short_is_counted_as_not_findable(make_params, tmp_path):
    rules = make_params().corpus.contamination
    texts = ("Bu da oldu.", "Bu da mı oldu?")
    rows = [{"row": row, "text": text, "label": 1} for row, text in enumerate(texts)]
    one = EvaluationSet("ironytr", "stand_in", rows, "here")
    assert findable_rows(one, rules) == {"document": [1], "instruction": [1]}
    assert count_findable([one], rules, tmp_path) == {
        "ironytr": {"items": 2, "document": 1, "instruction": 1}
    }


@pytest.fixture
def measured(monkeypatch):
    """The sets that were planted, by name, and not read from the cache."""
    names: list[str] = []

    def rows(one, rules):
        names.append(one.name)
        return findable_rows(one, rules)

    monkeypatch.setattr(findable, "findable_rows", rows)
    return names


def test_a_set_is_planted_once_for_its_rows_rule_and_code(
    make_params, tmp_path, measured, monkeypatch
):
    rules = make_params().corpus.contamination
    rows = [{"row": row, "text": text, "label": 1} for row, text in enumerate(["Bu da mı oldu?"])]
    one = EvaluationSet("ironytr", "stand_in", rows, "here")
    first = count_findable([one], rules, tmp_path)
    assert count_findable([one], rules, tmp_path) == first
    assert measured == ["stand_in"]
    tasks = rules.model_copy(update={"tasks": ["ironytr"]})  # says nothing of what can be found
    count_findable([one], tasks, tmp_path)
    assert measured == ["stand_in"]

    other = rules.model_copy(update={"whole_fields": None})
    assert count_findable([one], other, tmp_path) != first
    changed = EvaluationSet("ironytr", "stand_in", [{**rows[0], "text": "Bu da oldu."}], "here")
    assert count_findable([changed], rules, tmp_path) != first
    assert len(measured) == 3

    code = tmp_path / "code"
    for name in DECIDING_CODE:
        (code / name).parent.mkdir(parents=True, exist_ok=True)
        (code / name).write_text(f"# {name}")
    monkeypatch.setattr(findable, "PACKAGE", code)
    for number, name in enumerate(DECIDING_CODE, 4):
        (code / name).write_text("# changed")
        for _ in range(2):
            assert count_findable([one], rules, tmp_path) == first
        assert len(measured) == number, name


def test_the_code_that_decides_is_what_the_matcher_imports():
    todo, found = [PACKAGE / "data/matching/decontaminate.py"], {Path(findable.__file__)}
    while todo:
        path = todo.pop()
        if path not in found and path.relative_to(PACKAGE).parts[0] in ("data", "text"):
            found.add(path)
            tree = ast.parse(path.read_text(encoding="utf-8"))
            todo += [one for one in files_of(imported(tree, "")) if one.name != "__init__.py"]
    assert found == {PACKAGE / name for name in DECIDING_CODE}


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
