"""`corpus --explain`: the fate of each document of a file, and what each step says of it."""

import json

import pytest
from typer.testing import CliRunner

from diffutron.cli.app import app
from diffutron.data.corpus.explain import explain, to_json, to_text
from diffutron.data.sources.row_readers import KINDS
from diffutron.runtime.errors import UserError
from diffutron.text.turkish import turkish_upper

TEXT = "Dün akşam komşumuzun bahçesinde büyük bir kutlama vardı, herkes geç saate kadar oradaydı."
ROWS = [
    {"text": TEXT + " Sonra eve döndük."},
    {"text": "The committee will publish its findings before the end of the year in May."},
    {"text": turkish_upper(TEXT + " Sonra eve döndük.")},
    {"text": f"{TEXT} Bana\u200b ali@ornek.com yazdı."},
    {"text": "Geldi."},
]


@pytest.fixture
def file(tmp_path):
    lines = [json.dumps(row, ensure_ascii=False) for row in ROWS]
    lines.insert(2, "{bozuk")
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def params(make_params):
    changes = {"corpus.language.kept": ["tr"], "corpus.contamination.tasks": ["ironytr"]}
    return make_params(changes)


def test_every_line_has_its_fate(file, params, tiny_tokenizer_dir):
    found = list(explain(params, tokenizer=tiny_tokenizer_dir, file=file))
    fates = [(one.line, one.kept, one.reason) for one in found]
    assert fates == [
        (1, True, None),
        (2, False, "language"),
        (3, False, "bad_line"),
        (4, False, "duplicate"),
        (5, True, None),
        (6, False, "too_short"),
    ]
    assert found[3].steps["duplicate"] == "exact copy of line 1"
    assert found[4].text == f"{TEXT} Bana [E-POSTA] yazdı."
    assert found[4].steps["personal_data"] == "replaced: email 1"
    assert found[4].steps["normalize"] == "changed"
    assert found[5].steps["length"].startswith("too_short (")
    assert found[1].steps["language"] != "ok"
    assert set(json.loads(to_json(found[0]))) == {"line", "kept", "reason", "rule", "text", "steps"}
    assert to_text(found[3]).startswith("line 4: dropped: duplicate (exact)\n")


def test_plates_are_personal_data_where_the_settings_say_so(
    tmp_path, make_params, tiny_tokenizer_dir
):
    path = tmp_path / "a.txt"
    path.write_text(f"{TEXT} Sonra 34 ABC 123 plakalı araçla gittik.", encoding="utf-8")
    said = {}
    for plates in (False, True):
        params = make_params({"corpus.personal_data.plates": plates})
        (one,) = explain(params, tokenizer=tiny_tokenizer_dir, file=path)
        said[plates] = one.steps["personal_data"], "[PLAKA]" in one.text
    assert said == {False: ("ok", False), True: ("replaced: plate 1", True)}


def test_a_file_with_nothing_usable_is_explained_too(tmp_path, params, tiny_tokenizer_dir):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": 1}\n', encoding="utf-8")
    (only,) = explain(params, tokenizer=tiny_tokenizer_dir, file=path)
    assert (only.reason, only.rule) == ("bad_line", "'text' is not a text")
    path.write_text('{"text": "Geldi."}\n', encoding="utf-8")
    (only,) = explain(params, tokenizer=tiny_tokenizer_dir, file=path)
    assert only.reason == "too_short"


def test_other_files_are_refused(tmp_path, params, tiny_tokenizer_dir):
    with pytest.raises(UserError, match=f"must be a file of {KINDS[0]}"):
        list(explain(params, tokenizer=tiny_tokenizer_dir, file=tmp_path / "a.doc"))


@pytest.mark.slow
def test_the_command_prints_one_object_a_document(file, tiny_tokenizer_dir, repo, monkeypatch):
    monkeypatch.chdir(repo)
    line = ["corpus", "--tokenizer", str(tiny_tokenizer_dir), "--explain", str(file)]
    said = CliRunner().invoke(app, [*line, "--json"])
    assert said.exit_code == 0, said.output
    rows = [json.loads(row) for row in said.output.splitlines()]
    assert [row["line"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert "line 3: dropped: bad_line" in CliRunner().invoke(app, line).output
