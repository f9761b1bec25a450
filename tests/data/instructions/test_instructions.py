"""The instructions stage: exact spans, counted reasons, and a split that leaks nothing."""

import json
from functools import partial

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffutron.data.instructions import clusters, row_table, steps
from diffutron.data.instructions.instructions import instructions
from diffutron.data.instructions.steps import Row, cut_lines
from diffutron.data.matching import dedup
from diffutron.data.sources.sources import local_digest
from diffutron.modeling.tokenizer import (
    decode_answer,
    encode_answer,
    encode_chats,
    encode_prompt,
    load_tokenizer,
)
from diffutron.runtime.errors import UserError
from diffutron.text.turkish import exact_key
from tests.support.row_clusters import row_clusters

NAMES = ["Ayşe", "Mehmet", "Zeynep", "Hüseyin", "Elif", "Çağrı", "Işıl", "Ömer", "Şule", "Ali"]
CITIES = ["Ankara", "İzmir", "Iğdır", "Şırnak", "Çorum", "Muş", "Rize", "Ağrı", "Van", "Uşak"]
IRONY = (
    "Yağmurda ıslanıp eve geç kaldığım bu harika günde bir de anahtarımı kaybettim, ne güzel "
    "bir akşam oldu benim için."
)
EDGES = [
    {"instruction": "Boş", "input": "", "output": " \u200b "},
    {"instruction": "  ", "input": "", "output": "Yanıt"},
    {"instruction": "Listele", "input": "", "output": "elma, armut, kiraz ve şu dört meyve daha,"},
    {"instruction": "Uzun yaz", "input": "", "output": " ".join(map(str, range(400)))},
    {"instruction": "Durma", "input": "", "output": "uzun " * 60},
    {
        "instruction": "Ayşe&#39;ye yaz: ayse@ornek.com",
        "input": "",
        "output": "Yazdım: ayse@ornek.com",
    },
    {"instruction": f"Bu ironi mi? {IRONY}", "input": "", "output": "Evet"},
    {"instruction": "Ayşe hangi kentte yaşar, söyle: 0", "input": "", "output": "ANKARA"},
    {"instruction": "Bozuk", "input": 3, "output": "x"},
    {"instruction": "Kod:\n  girinti\n    kalır", "input": "", "output": "👨\u200d👩\u200d👧 x̧"},
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFUTRON_DATA", str(tmp_path))
    first = [
        {"instruction": f"{name} hangi kentte yaşar, söyle: {n}", "input": "", "output": CITIES[n]}
        for name in NAMES
        for n in range(10)
    ] + EDGES
    second = [
        {"Input": f"{name} {city} için bilet aldı mı? {n}", "Output": f"{name} {n} bilet aldı."}
        for n, name in enumerate(NAMES)
        for city in CITIES
    ]
    second.append({"Input": "Ayşe hangi kentte yaşar, söyle: 3", "Output": "Bilmiyorum."})
    (tmp_path / "instruct").mkdir()
    lines = [json.dumps(row, ensure_ascii=False) for row in [*first, *second]]
    (tmp_path / "instruct" / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "cetvel").mkdir()
    irony = json.dumps({"text": IRONY, "label": 1}, ensure_ascii=False)
    (tmp_path / "cetvel" / "ironytr.jsonl").write_text(irony, encoding="utf-8")
    return tmp_path


@pytest.fixture
def tokenizer(tiny_tokenizer_dir):
    return load_tokenizer(tiny_tokenizer_dir)


@pytest.fixture
def run(folder, make_params, tokenizer):
    def stage(name="out", **changes):
        params = make_params(
            {
                "instructions.source": "local",
                "instructions.digest": local_digest("instructions"),
                "instructions.max_bad_share": 0.05,
                "instructions.heldout_rows": 20,
                "evaluate.source": "local",
                "corpus.contamination.tasks": ["ironytr"],
                **{f"instructions.{key}": value for key, value in changes.items()},
            }
        )
        out = folder / name
        encode = partial(encode_chats, tokenizer)
        instructions(params, encode, out=out, metrics=folder / f"{name}.json")
        return out

    return stage


def rows_of(out, phase, *splits):
    names = splits or ("train", "heldout")
    paths = [out / f"phase{phase}_{split}.parquet" for split in names]
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def test_spans_are_exact(run, tokenizer):
    out = run()
    for phase in (1, 2):
        for row in rows_of(out, phase):
            prompt = row["input_ids"][: row["answer_start"]]
            answer = row["input_ids"][row["answer_start"] : row["answer_end"]]
            assert prompt == encode_prompt(tokenizer, row["prompt"])
            assert answer == encode_answer(tokenizer, row["answer"])
            assert decode_answer(tokenizer, answer) == row["answer"]
            assert row["answer_end"] == len(row["input_ids"])
    edge = [row for row in rows_of(out, 1) if row["prompt"].startswith("Kod")]
    assert [(row["prompt"], row["answer"]) for row in edge] == [
        ("Kod:\n  girinti\n    kalır", "👨\u200d👩\u200d👧 x̧")
    ]


@pytest.mark.parametrize("too_long", ["drop", "cut"])
def test_a_long_input_is_dropped_or_cut_and_its_question_stays(run, folder, tokenizer, too_long):
    text = " ".join(f"{name}{city} {city}{name}" for name in NAMES for city in CITIES)
    asked = {
        "Input": f"Bu metin neyi anlatır?\nMetin: {text}\nYanıt tek söz olsun.",
        "Output": "yol",
    }
    huge = {"Input": "kısa", "Output": text}
    with (folder / "instruct" / "a.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(f"\n{json.dumps(row, ensure_ascii=False)}" for row in (asked, huge))
    out = run(too_long=too_long, max_tokens=120)
    found = [row for row in rows_of(out, 2) if row["answer"] == "yol"]
    assert not [row for row in rows_of(out, 2) if row["prompt"] == "kısa"]  # no answer is cut
    assert len(found) == (too_long == "cut")
    for row in found:
        first, middle, last = row["prompt"].split("\n")
        assert (first, last) == ("Bu metin neyi anlatır?", "Yanıt tek söz olsun.")
        assert middle.endswith(" …")
        assert f"Metin: {text}".startswith(middle.removesuffix(" …"))
        assert 100 <= len(row["input_ids"]) <= 120
        ids = row["input_ids"][: row["answer_start"]]
        assert ids == encode_prompt(tokenizer, row["prompt"])


@given(
    st.lists(st.text("ab ç", max_size=40), min_size=1, max_size=6).map("\n".join),
    st.integers(0, 120),
)
def test_cut_lines_keeps_the_starts_of_all_lines(text, most):
    found = cut_lines(text, most)
    assert len(found) <= max(most, text.count("\n"))
    if len(text) <= most:
        assert found == text
        return
    lines = text.split("\n")
    longest = max(map(len, found.split("\n")))
    kept = [line for line in lines if len(line) < longest]
    assert all(line.strip("\n ") in found for line in kept)
    for line in found.split("\n"):
        start = line.removesuffix("…").rstrip()
        assert any(whole.strip().startswith(start.strip()) for whole in lines)


def test_reasons_are_counted(run, folder):
    out = run()
    counts = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    assert counts["phase1"]["dropped"] == {
        "bad_line": 1,
        "empty": 2,
        "truncated": 1,
        "language": 0,
        "repetition": 1,
        "duplicate": 1,
        "contaminated": 1,
        "too_long": 1,
        "quota": 0,
    }
    assert counts["phase1"]["personal_data"]["email"] == 2
    assert counts["phase1"]["repaired"]["invisible"] == 1
    assert counts["phase1"]["repaired"]["entities"] == 1
    assert counts["phase1"]["rows"]["read"] == 110
    assert counts["phase1"]["rows"]["kept"] == 102
    assert counts["phase2"]["rows"]["kept"] == 101
    kept = rows_of(out, 1)
    assert len(kept) == len({row["id"] for row in kept}) == 102
    assert counts["phase1"]["tokens"] == sum(len(row["input_ids"]) for row in kept)
    assert counts["phase1"]["answer_tokens"] == sum(
        row["answer_end"] - row["answer_start"] for row in kept
    )
    bad = json.loads((out / "phase1_bad_lines.jsonl").read_text(encoding="utf-8"))
    assert bad["line"] == 109
    card = (out / "card.html").read_text(encoding="utf-8")
    assert "<h2>Phase 2</h2>" in card
    assert "<h2>Phase 1, examples: contaminated</h2>" in card
    said = json.loads((out / "card.json").read_text(encoding="utf-8"))
    assert list(said) == ["cleaned_of", "findable", "false_alarms", "phase1", "phase2"]
    assert said["false_alarms"] == counts["false_alarms"] == {"texts": 203, "found": 0}
    assert said["findable"] == counts["findable"]
    assert "in 0 of 203 kept texts (0.000%)" in card
    assert f"Cleaned of the evaluation sets: {', '.join(said['cleaned_of'])}." in card


def test_nothing_held_out_is_trained_on(run):
    out = run()
    train = [row for phase in (1, 2) for row in rows_of(out, phase, "train")]
    heldout = [row for phase in (1, 2) for row in rows_of(out, phase, "heldout")]
    for phase in (1, 2):
        assert 20 <= len(rows_of(out, phase, "heldout")) <= 30
    prompts = {exact_key(row["prompt"]) for row in train}
    assert not prompts & {exact_key(row["prompt"]) for row in heldout}


def test_clusters_hold_what_must_stay_together(make_params):
    near = make_params({"corpus.near_duplicate.threshold": 0.6}).corpus.near_duplicate
    long = "Aşağıdaki uzun metni oku ve içinde geçen bütün şehir adlarını sırayla yaz lütfen"
    rows = [
        Row(1, "a", "Civciv nerenin hayvanıdır?", "kümes"),
        Row(1, "a", "Civciv hangi yerde yaşar?", "kümes"),  # the same fact in other words
        Row(2, "a", "Civciv nasıl bir yerde kalır?", "kümes"),  # the other phase may know it
        Row(2, "a", "CİVCİV NERENİN HAYVANIDIR?", "bilmem"),  # the same prompt
        Row(1, "a", "Kedi hangi yerde yaşar?", "ev"),
        Row(1, "a", f"{long} bir", "Van ve Muş"),
        Row(1, "a", f"{long} iki", "Van ve Muş"),  # a near copy
        Row(1, "a", "Tavuk hangi yerde yaşar?", "kümes"),
    ]
    for animal in ("Kuzu", "Balık", "Arı", "Karınca", "Aslan"):
        rows += [
            Row(1, "a", f"{animal} nerenin hayvanıdır?", animal),
            Row(1, "a", f"{animal} hangi yerde yaşar, nasıl bir yerde kalır?", animal[::-1]),
        ]
    assert row_clusters(rows, near)[:8] == [0, 0, 2, 0, 4, 5, 5, 7]


def test_quota_draws_rows_and_runs_are_equal(run, folder):
    first = run("first", max_rows=60)
    again = run("again", max_rows=60)
    for path in first.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes()
    assert len(rows_of(first, 1)) == len(rows_of(first, 2)) == 60
    more = {row["id"] for row in rows_of(run("more", max_rows=80), 1)}
    assert {row["id"] for row in rows_of(first, 1)} < more


def test_how_many_rows_are_in_memory_changes_nothing(run, monkeypatch):
    whole = run("whole", max_rows=90)
    for module, name in ((steps, "BATCH"), (clusters, "AT_ONCE"), (row_table, "AT_ONCE")):
        monkeypatch.setattr(module, name, 7)
    monkeypatch.setattr(clusters, "AHEAD", 3)
    monkeypatch.setattr(dedup, "RECENT", 1)
    parts = run("parts", max_rows=90)
    for path in whole.iterdir():
        if path.suffix == ".parquet":
            assert pq.read_table(path).equals(pq.read_table(parts / path.name))
        else:
            assert path.read_bytes() == (parts / path.name).read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heldout_rows": 102}, r"102 rows of phase 1 are left, .*heldout_rows = 102"),
        ({"max_tokens": 5}, r"0 rows of phase 1 are left"),
        ({"max_bad_share": 0.0}, r"instructions: 1 of 110 lines cannot be used"),
    ],
)
def test_what_goes_wrong_is_one_line_and_leaves_no_folder(run, folder, changes, message):
    with pytest.raises(UserError, match=message):
        run(**changes)
    assert {path.name for path in folder.iterdir()} == {"instruct", "cetvel"}


def test_rows_of_neither_schema_are_an_error(run, folder):
    path = folder / "instruct" / "b.jsonl"
    path.write_text('{"soru": "Ne?", "cevap": "Bu."}\n' * 200, encoding="utf-8")
    with pytest.raises(UserError, match="neither instruction/input/output nor Input/Output"):
        run()
