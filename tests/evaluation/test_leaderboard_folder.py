"""A leaderboard's folder: somebody's own tasks in it, its numbers counted again, two made one."""

import json
import shutil

import pytest

from diffutron.evaluation.leaderboard.folder import check_folder, merge_folders
from diffutron.evaluation.leaderboard.leaderboard import leaderboard
from diffutron.evaluation.statistics.intervals import wilson
from diffutron.runtime.errors import UserError
from tests.support.own_tasks import write_own_tasks
from tests.support.project import CLONE


@pytest.fixture(scope="module")
def own_dir(tmp_path_factory):
    return write_own_tasks(tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def ask(options, own_dir, tmp_path_factory):
    def run(name, **changes):
        out = tmp_path_factory.mktemp("boards") / name
        asked = {"systems": CLONE / "infra" / "systems.yaml", "tasks_dir": own_dir}
        asked |= {"tasks": ["soru_bankasi", "ciftler"], **changes}
        return out, leaderboard(options(out, **asked))

    return run


@pytest.fixture(scope="module")
def boards(ask):
    return [ask("a", only=["random", "constant"]), ask("b", only=["longest", "random"])]


def test_own_tasks_stand_in_the_table(boards):
    _, found = boards[0]
    rows = {(row["system"], row["task"]): row for row in found["rows"]}
    assert len(rows) == 4
    for row in rows.values():
        assert row["sanity_checks"]["oracle"] is True
        assert row["n"] == 30
    assert rows["random", "ciftler"]["chance"] == 0.5
    assert rows["constant", "ciftler"]["acc"] < 0.8, "the good text has no fixed place"
    row = rows["constant", "soru_bankasi"]
    assert {name: part["n"] for name, part in row["parts"].items()} == {"a": 15, "b": 15}
    assert sum(part["correct"] for part in row["parts"].values()) == row["correct"]


def test_a_model_answers_own_tasks(ask, place):
    out, found = ask("model", only=["tiny"], systems=place / "systems.yaml")
    for row in found["rows"]:
        assert row["acc"] is not None, row["why"]
        assert {name for name, passed in row["sanity_checks"].items() if passed is False} == set()
    assert check_folder(out)[1] == []
    items = [json.loads(line) for line in (out / "items/tiny.corrected.soru_bankasi.jsonl").open()]
    for item in items:  # the value that decides is that of a byte
        rates = [
            v / len(c.encode()) for v, c in zip(item["logprobs"], item["choices"], strict=True)
        ]
        assert item["predicted"] == rates.index(max(rates))


@pytest.mark.slow
def test_a_benchmark_of_the_package_stands_in_the_table(ask, place):
    pytest.importorskip("turkmorfbench", reason="needs the extra `bench`")
    own = {"tasks": ["turkmorfbench"], "tasks_dir": None}
    _, found = ask("bench", only=["random", "constant"], **own)
    random, constant = found["rows"]
    low, high = wilson(random["correct"], random["n"], confidence=0.99)
    assert (random["n"], len(random["parts"])) == (1836, 14)
    assert low < random["chance"] < high
    assert constant["acc"] == constant["constant"]
    assert random["cluster_interval"]["clusters"] == 339
    assert found["sets"][0]["published"]["systems"][0]["acc"] == 0.8

    out, found = ask("tiny", only=["tiny"], limit=20, systems=place / "systems.yaml", **own)
    (row,) = found["rows"]
    assert {name for name, passed in row["sanity_checks"].items() if passed is False} == set()
    assert sum(part["n"] for part in row["parts"].values()) == row["n"] == 20
    assert check_folder(out)[1] == []
    board = json.loads((out / "leaderboard.json").read_text("utf-8"))
    board["rows"][0]["cluster_interval"]["low"] += 0.1
    (out / "leaderboard.json").write_text(json.dumps(board), "utf-8")
    assert "cluster_interval" in check_folder(out)[1][0]


def test_every_number_is_counted_again(boards):
    counted, faults = check_folder(boards[0][0])
    assert faults == []
    assert counted > 2 * 2 * 30 * 5


NUMBERS = (
    "n",
    "correct",
    "acc",
    "acc_norm",
    "low",
    "high",
    "chance",
    "constant",
    "p_value",
    "ties",
)


@pytest.mark.parametrize("key", NUMBERS)
def test_a_changed_number_is_found(boards, tmp_path, key):
    folder = shutil.copytree(boards[0][0], tmp_path / "copy")
    board = json.loads((folder / "leaderboard.json").read_text("utf-8"))
    board["rows"][1][key] += 1
    (folder / "leaderboard.json").write_text(json.dumps(board), "utf-8")
    assert any(f", {key}:" in fault for fault in check_folder(folder)[1])


@pytest.mark.parametrize("key", ["predicted", "gold", "correct", "logprobs", "row"])
def test_a_changed_answer_is_found(boards, tmp_path, key):
    folder = shutil.copytree(boards[0][0], tmp_path / "copy")
    path = folder / "items" / "random.corrected.ciftler.jsonl"
    lines = path.read_text("utf-8").splitlines()
    item = json.loads(lines[3])
    item[key] = item[key][::-1] if key == "logprobs" else int(item[key]) + 1
    lines[3] = json.dumps(item, ensure_ascii=False)
    path.write_text("\n".join(lines) + "\n", "utf-8")
    assert check_folder(folder)[1]


@pytest.mark.parametrize("key", ["difference", "p_value", "low"])
def test_a_changed_test_is_found(boards, tmp_path, key):
    folder = shutil.copytree(boards[0][0], tmp_path / "copy")
    board = json.loads((folder / "leaderboard.json").read_text("utf-8"))
    board["pairs"][0][key] += 0.1
    (folder / "leaderboard.json").write_text(json.dumps(board), "utf-8")
    (fault,) = check_folder(folder)[1]
    assert fault.startswith("pair random, constant")


def test_two_folders_make_one_table(boards, ask, tmp_path):
    out = tmp_path / "joint"
    merged = merge_folders([folder for folder, _ in boards], out)
    _, whole = ask("whole", only=["random", "constant", "longest"])
    for key, names in {
        "rows": ("system", "task"),
        "means": ("system",),
        "pairs": ("a", "b", "task"),
    }.items():
        found, wanted = (
            {tuple(one[name] for name in names): one for one in board[key]}
            for board in (merged, whole)
        )
        assert found == wanted, key
    assert check_folder(out)[1] == []


def test_other_rows_cannot_stand_in_one_table(boards, ask, own_dir, tmp_path):
    other = shutil.copytree(own_dir, tmp_path / "other")
    lines = (other / "s.jsonl").read_text("utf-8").splitlines()
    (other / "s.jsonl").write_text("\n".join(lines[1:]) + "\n", "utf-8")
    folder, _ = ask("other", only=["longest"], tasks_dir=other)
    with pytest.raises(UserError, match="soru_bankasi .corrected. has other rows"):
        merge_folders([boards[0][0], folder], tmp_path / "out")


def test_a_folder_without_answers_is_one_line(boards, tmp_path):
    with pytest.raises(UserError, match=r"holds no leaderboard\.json"):
        check_folder(tmp_path)
    folder = shutil.copytree(boards[0][0], tmp_path / "copy")
    (folder / "items" / "random.corrected.ciftler.jsonl").unlink()
    with pytest.raises(UserError, match=r"ciftler\.jsonl is missing"):
        check_folder(folder)
