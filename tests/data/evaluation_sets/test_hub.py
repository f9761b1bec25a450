"""The seven sets on the hub: at a revision, guarded by digest and number."""

import json
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diffutron.config.section import TASKS
from diffutron.data.evaluation_sets import evaluation_sets
from diffutron.data.evaluation_sets.evaluation_sets import HUB, load_rows, load_sets, sets_digest
from diffutron.runtime.errors import UserError

from .rows import ROWS, changed


@pytest.fixture
def put(hub, monkeypatch):
    """`put("sts_tr", rows)`: what the hub holds; at first two rows of each task."""

    def write(task: str, rows: list[dict], **metadata: str) -> None:
        spec = HUB[task]
        place = hub.store.folder / "datasets" / f"{spec.name}@{quote(spec.revision, safe='')}"
        place.with_name(spec.name.rpartition("/")[2]).mkdir(parents=True, exist_ok=True)
        inside = (
            f"{spec.config}/{spec.split}/0000.parquet" if spec.parquet else f"{spec.split}.parquet"
        )
        (place / inside).parent.mkdir(parents=True, exist_ok=True)
        if spec.config and not spec.parquet:
            files = f"[{{split: {spec.split}, path: {inside}}}]"
            card = f"---\nconfigs: [{{config_name: {spec.config}, data_files: {files}}}]\n---\n"
            (place / "README.md").write_text(card)
        table = pa.Table.from_pylist(rows).replace_schema_metadata(metadata or None)
        pq.write_table(table, place / inside)

    for task in TASKS:
        write(task, [ROWS[task]] * 2)
    two = {task: spec.model_copy(update={"rows": 2}) for task, spec in HUB.items()}
    monkeypatch.setattr(evaluation_sets, "HUB", two)
    return write


def test_hub_sets_are_read_at_a_revision(hub, put):
    sets, missing = load_sets(TASKS, source="hub")
    assert missing == []
    assert [one.rows[0].items() >= {"row": 1}.items() for one in sets] == [True] * 7
    assert [len(one.rows) for one in sets] == [2] * 7
    exported = {task for task, spec in HUB.items() if spec.parquet}
    assert exported == {"exams_tr", "mnli_tr", "xcopa_tr"}
    assert all(len(HUB[task].revision) == 40 for task in TASKS if task not in exported)
    hub.log.clear()
    load_sets(TASKS, source="hub")
    assert not [one for one in hub.log if "resolve" in one["path"]]  # nothing is fetched twice


def test_hub_rows_are_guarded_by_digest_and_number(put, monkeypatch, tmp_path):
    sets, _ = load_sets(TASKS, source="hub")
    digest = sets_digest(sets)
    load_sets(TASKS, source="hub", digest=digest)
    put("sts_tr", [ROWS["sts_tr"], changed("sts_tr", "score", 4.0)])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "other"))
    with pytest.raises(UserError, match=r"evaluate\.digest"):
        load_sets(TASKS, source="hub", digest=digest)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "third"))
    put("sts_tr", [ROWS["sts_tr"]] * 3)
    with pytest.raises(UserError, match="has 3 rows where 2 are expected"):
        load_sets(TASKS, source="hub")


def test_class_labels_of_the_hub_become_their_names(put):
    names = ["economy", "health", "magazine", "politics", "sport"]
    features = {"label": {"names": names, "_type": "ClassLabel"}}
    metadata = json.dumps({"info": {"features": features}})
    put("news_cat", [{"text": "Maç bitti.", "label": 4}] * 2, huggingface=metadata)
    assert load_rows("news_cat", source="hub").rows[0]["label"] == "sport"


def test_a_renamed_field_is_named(put):
    put("ironytr", [{"metin": "Ne güzel.", "label": 1}] * 2)
    with pytest.raises(UserError, match=r"mcemilg/IronyTR .*row 1: .*text"):
        load_rows("ironytr", source="hub")


def test_no_network_is_one_line():
    """HF_HUB_OFFLINE is set for every test."""
    told = r"^evaluate\.source: ironytr: data set mcemilg/IronyTR is not in the cache"
    with pytest.raises(UserError, match=told):
        load_rows("ironytr", source="hub")
