"""Questions of every protocol: the words of lm-eval, the differences, and solved examples."""

import pytest

from diffutron.config.section import TASKS
from diffutron.data.evaluation_sets.evaluation_sets import EvaluationSet, load_rows, training_set
from diffutron.evaluation.cetvel.asked import (
    choose_protocols,
    choose_tasks,
    place_of,
    read_material,
)
from diffutron.evaluation.cetvel.protocols import PROTOCOLS
from diffutron.evaluation.cetvel.questions import ask, solved
from diffutron.evaluation.cetvel.task_files import task_file

CORRECTED, CETVEL = PROTOCOLS["corrected"], PROTOCOLS["cetvel"]


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("protocol", [CORRECTED, CETVEL], ids=lambda one: one.name)
def test_questions_are_the_requests_of_lm_eval(rows_dir, lm_eval_tasks, name, protocol):
    """Our reader of the task files and lm-eval's own task objects ask the same, to the letter."""
    one = load_rows(name, source="local", folder=rows_dir)
    task = lm_eval_tasks([one], casing=protocol.casing)[name]
    task.build_all_requests()
    theirs = [request.args for request in task.instances]
    questions = ask(one, protocol)
    assert [pair for question in questions for pair in question.pairs] == theirs
    assert [question.gold for question in questions] == [
        task.doc_to_target(doc) for doc in task.test_docs()
    ]


def test_solved_examples_are_joined_as_lm_eval_joins_them(rows_dir, lm_eval_tasks):
    one = load_rows("ironytr", source="local", folder=rows_dir)
    task = lm_eval_tasks([one])["ironytr"]
    doc, *others = one.rows

    class Chosen:
        def sample(self, n, eval_doc=None, **_):
            return others[:n]

    task.sampler = Chosen()
    theirs = task.fewshot_context(doc, 2)
    file = task_file("ironytr")
    ours = "".join(solved(file, other) + "\n\n" for other in others[:2]) + file.context(doc)
    assert ours == theirs


def test_solved_examples_never_hold_the_question_or_its_passage(rows_dir):
    for name in ("ironytr", "belebele_tr"):
        one = load_rows(name, source="local", folder=rows_dir)
        bare = ask(one, CORRECTED)
        for shots in (1, 3):
            for plain, question in zip(bare, ask(one, CORRECTED, shots=shots), strict=True):
                assert question.context.endswith(plain.context)
                assert question.context.count("\n\n") == shots
                before = question.context.removesuffix(plain.context)
                field = "flores_passage" if name == "belebele_tr" else "text"
                assert plain.doc[field] not in before


def test_examples_come_from_the_training_split_and_depend_on_the_row_alone(rows_dir):
    one = load_rows("news_cat", source="local", folder=rows_dir)
    training = training_set("news_cat", source="local", folder=rows_dir)
    assert training is not None
    every = ask(one, CORRECTED, shots=2, training=training)
    part = EvaluationSet(one.task, one.name, one.rows[4:5], one.origin)
    (single,) = ask(part, CORRECTED, shots=2, training=training)
    assert single == every[4]
    before = single.context.split("\n\n")[:-1]
    texts = {row["text"] for row in training.rows}
    assert all(any(text in example for text in texts) for example in before)


def test_rows_of_label_minus_one_are_asked_as_published_and_dropped_by_us(tmp_path):
    row = '{"premise": "Bir.", "hypothesis": "İki.", "label": %d}\n'
    path = tmp_path / "mnli_tr_validation_matched.jsonl"
    path.write_text("".join(row % label for label in (0, -1, 2)), encoding="utf-8")
    found = {
        name: read_material(
            ["mnli_tr"], choose_protocols(name), data=str(tmp_path), shots=0, limit=None, seed=0
        )[0][0]
        for name in ("corrected", "cetvel")
    }
    assert [one.gold for one in found["corrected"].questions] == [0, 2]
    assert found["corrected"].dataset.dropped == {"label -1": 1}
    assert [one.gold for one in found["cetvel"].questions] == [0, -1, 2]


def test_casing_is_what_the_protocols_differ_in(rows_dir):
    one = load_rows("xcopa_tr", source="local", folder=rows_dir)
    assert ask(one, CORRECTED)[0].choices == ("inceydi.", "ısındı 0.")
    assert ask(one, CETVEL)[0].choices == ("i\u0307nceydi.", "isındı 0.")


def test_a_key_is_the_words_of_a_question(rows_dir):
    one = load_rows("xcopa_tr", source="local", folder=rows_dir)
    first, second = ask(one, CORRECTED)[0], ask(one, CETVEL)[0]
    assert first.key != second.key
    assert first.key == ask(one, CORRECTED)[0].key
    assert len({question.key for question in ask(one, CORRECTED)}) == len(one.rows)


def test_items_of_a_passage_are_one_group(rows_dir):
    questions = ask(load_rows("belebele_tr", source="local", folder=rows_dir), CORRECTED)
    assert len({question.group for question in questions}) == 2
    irony = ask(load_rows("ironytr", source="local", folder=rows_dir), CORRECTED)
    assert len({question.group for question in irony}) == len(irony)


def test_names_and_places(monkeypatch, tmp_path):
    assert [one.name for one in choose_protocols("both")] == ["corrected", "cetvel"]
    assert choose_tasks(["sts_tr", "exams_tr"]) == ["exams_tr", "sts_tr"]
    assert choose_tasks(None) == list(TASKS)
    assert place_of(None) == ("hub", None)
    monkeypatch.setenv("DIFFUTRON_DATA", str(tmp_path))
    assert place_of(None) == ("local", tmp_path)
    assert place_of("sample") == ("sample", None)


def test_training_rows_that_do_not_fit_are_counted(rows_dir):
    exams = training_set("exams_tr", source="local", folder=rows_dir)
    assert exams is not None
    assert (len(exams.rows), exams.dropped) == (12, {"does not fit": 1})
    assert training_set("ironytr", source="local", folder=rows_dir) is None
    assert training_set("news_cat", source="sample") is None
