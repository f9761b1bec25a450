"""Where the seven evaluation sets are: on the hub, at pinned revisions, and in a local folder."""

from dataclasses import dataclass
from pathlib import Path

from diffutron.config.section import HubRows
from diffutron.data.evaluation_sets.rows import (
    BelebeleRow,
    ExamsRow,
    IronyRow,
    NewsRow,
    NliRow,
    Row,
    StsRow,
    TwoWayNliRow,
    XcopaRow,
)
from diffutron.runtime.yaml_files import read_yaml


class HubSet(HubRows):
    """Where the hub keeps a set. `parquet` reads the hub's own parquet export of a script set.

    The branch of the export is written anew, so the number of rows and, once `evaluate.digest` is
    set, the digest of the rows stand guard.
    """

    rows: int | None
    parquet: bool = False
    license: str | None = None


HUB = {
    task: HubSet(**found)
    for task, found in read_yaml(Path(__file__).with_name("hub_sets.yaml")).items()
}


@dataclass(frozen=True)
class LocalFile:
    """A file of the local layout; `stand_in_for` names the set that it only stands for."""

    name: str
    row: type[Row]
    stand_in_for: str | None = None


LOCAL = {
    "belebele_tr": (
        LocalFile("belebele_tr_test.jsonl", BelebeleRow),
        LocalFile("standin_mrc4_from_xquad_tr.jsonl", BelebeleRow, "belebele_tr"),
    ),
    "exams_tr": (LocalFile("exams_tr_validation.jsonl", ExamsRow),),
    "ironytr": (LocalFile("ironytr.jsonl", IronyRow),),
    "news_cat": (LocalFile("news_cat_test.jsonl", NewsRow),),
    "mnli_tr": (
        LocalFile("mnli_tr_validation_matched.jsonl", NliRow),
        LocalFile("standin_nli_2way_from_sts_tr.jsonl", TwoWayNliRow, "mnli_tr"),
    ),
    "sts_tr": (LocalFile("sts_tr_test.jsonl", StsRow),),
    "xcopa_tr": (LocalFile("xcopa_tr_test.jsonl", XcopaRow),),
}
SCHEMA = {task: files[0].row for task, files in LOCAL.items()}
TRAINING = {name: f"{name}_train.jsonl" for name in ("exams_tr", "news_cat", "sts_tr")}
