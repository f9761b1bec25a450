"""A folder of task files: read as a whole, and changed by nobody without its digest saying so."""

import pytest

from diffutron.data.task_folder import params_tasks, read_tasks, tasks_digest
from diffutron.runtime.errors import UserError
from tests.support.own_tasks import write_own_tasks


@pytest.fixture
def folder(tmp_path):
    return write_own_tasks(tmp_path / "tasks")


def rewrite(path, old, new):
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def test_a_folder_of_tasks(folder):
    (folder / "_shared.yaml").write_text("target_delimiter: ''\n")
    text = (folder / "soru.yaml").read_text("utf-8").replace("soru_bankasi", "ikinci")
    (folder / "z.yaml").write_text("include: _shared.yaml\n" + text, "utf-8")
    assert list(read_tasks(folder)) == ["ciftler", "soru_bankasi", "ikinci"]
    own = read_tasks(folder)["ikinci"].rows().own
    assert own
    assert own.delimiter == ""
    rewrite(folder / "z.yaml", "ikinci", "soru_bankasi")
    with pytest.raises(UserError, match="is also that of"):
        read_tasks(folder)


def test_a_folder_without_tasks_is_named_with_its_setting(tmp_path):
    assert read_tasks(None) == {}
    with pytest.raises(UserError, match=r"^--tasks-dir .*yok: no such folder"):
        read_tasks(tmp_path / "yok")
    with pytest.raises(UserError, match=r"^evaluate\.tasks_dir .*: holds no task file"):
        read_tasks(tmp_path, setting="evaluate.tasks_dir")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("soru.yaml", "Soru: ", "Sual: "),
        ("soru.yaml", "normalization: bytes", "normalization: none"),
        ("soru.yaml", "soru_bankasi", "baska"),
        ("cift.yaml", "minimal_pairs", "minimal_pairs, rows: 30"),
        ("s.jsonl", "Kim 7?", "Kim 8?"),
        ("c.jsonl", "uyudu 29", "uyudu 30"),
    ],
)
def test_the_digest_tells_each_change_of_what_is_asked(folder, name, old, new):
    before = tasks_digest(read_tasks(folder))
    assert tasks_digest(read_tasks(folder)) == before
    rewrite(folder / name, old, new)
    assert tasks_digest(read_tasks(folder)) != before


def test_the_digest_is_of_what_is_asked_wherever_it_lies(folder, tmp_path):
    before = tasks_digest(read_tasks(folder))
    folder.rename(tmp_path / "moved")
    assert tasks_digest(read_tasks(tmp_path / "moved")) == before
    (tmp_path / "moved" / "notes.txt").write_text("not asked")
    assert tasks_digest(read_tasks(tmp_path / "moved")) == before


def test_params_name_the_folder_and_its_digest(folder, make_params):
    def tasks(digest, place=folder):
        changes = {"evaluate.tasks_dir": str(place), "evaluate.tasks_digest": digest}
        return params_tasks(make_params(changes).evaluate)

    assert params_tasks(make_params().evaluate) == {}
    assert list(tasks(tasks_digest(read_tasks(folder)))) == ["ciftler", "soru_bankasi"]
    for digest, said in ((None, "is not set"), ("0" * 64, f"does not fit the files of {folder}")):
        with pytest.raises(UserError, match=f"evaluate.tasks_digest {said}: run `diffutron param"):
            tasks(digest)
    with pytest.raises(UserError, match=r"evaluate\.tasks_dir yok: no such folder"):
        tasks(None, "yok")
