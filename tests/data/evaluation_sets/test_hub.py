"""The seven sets on the hub: at a revision, guarded by digest and number, without network."""

import pytest

from diffutron.config.params import TASKS
from diffutron.data.evaluation_sets import evaluation_sets
from diffutron.data.evaluation_sets.evaluation_sets import HUB, load_rows, load_sets, sets_digest
from diffutron.runtime.errors import UserError

from .rows import ROWS, changed


class FakeDataset(list):
    """What `datasets.load_dataset` returns, as far as the reader looks."""

    features: dict = {}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch):
    """The outside edge: the hub answers with two rows a task and records what was asked."""
    import datasets

    asked: list[tuple] = []
    answers = {name: FakeDataset([row, row]) for name, row in ROWS.items()}

    def load_dataset(*args, **kwargs):
        asked.append((args, kwargs))
        files = str(kwargs.get("data_files", ""))
        return next(
            answers[task]
            for task, spec in HUB.items()
            if spec.name in (*args[:1], files) or spec.name in files
        )

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(
        evaluation_sets,
        "HUB",
        {task: evaluation_sets.replace(spec, rows=2) for task, spec in HUB.items()},
    )
    return asked, answers


def test_hub_sets_are_read_at_a_revision(hub):
    asked, _ = hub
    sets, missing = load_sets(TASKS, source="hub")
    assert missing == []
    assert [len(one.rows) for one in sets] == [2] * 7
    for (args, kwargs), spec in zip(asked, HUB.values(), strict=True):
        if spec.parquet:
            assert args == ("parquet",)
            assert "@refs%2Fconvert%2Fparquet/" in kwargs["data_files"]["rows"]
        else:
            assert kwargs["revision"] == spec.revision
            assert len(spec.revision) == 40
    assert {task for task, spec in HUB.items() if spec.parquet} == {
        "exams_tr",
        "mnli_tr",
        "xcopa_tr",
    }


def test_hub_rows_are_guarded_by_digest_and_number(hub):
    _, answers = hub
    sets, _ = load_sets(TASKS, source="hub")
    digest = sets_digest(sets)
    load_sets(TASKS, source="hub", digest=digest)
    answers["sts_tr"][0] = changed("sts_tr", "score", 4.0)
    with pytest.raises(UserError, match=r"evaluate\.digest"):
        load_sets(TASKS, source="hub", digest=digest)
    answers["sts_tr"].append(ROWS["sts_tr"])
    with pytest.raises(UserError, match="has 3 rows where 2 are expected"):
        load_sets(TASKS, source="hub")


def test_class_labels_of_the_hub_become_their_names(hub):
    class Label:
        names = ["economy", "health", "magazine", "politics", "sport"]

        def int2str(self, index: int) -> str:
            return self.names[index]

    _, answers = hub
    answers["news_cat"] = FakeDataset([{"text": "Maç bitti.", "label": 4}] * 2)
    answers["news_cat"].features = {"label": Label()}
    assert load_rows("news_cat", source="hub").rows[0]["label"] == "sport"


def test_no_network_is_one_line(monkeypatch):
    import datasets

    def refuse(*_, **__):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(UserError, match=r"cannot read mcemilg/IronyTR .*no route to host"):
        load_rows("ironytr", source="hub")
