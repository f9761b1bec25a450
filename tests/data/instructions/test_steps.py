"""What makes a row unfit: the rules of the corpus, on prompt and answer."""

import json
from collections import Counter

import pytest

from diffutron.data.instructions.steps import REASONS, Row, drop_languages, drop_repetition, raw_row
from diffutron.data.sources.instruction_schemas import Instruction
from diffutron.data.sources.row_readers import BadLine
from diffutron.data.sources.sources import local_digest, raw_instructions
from diffutron.text.normalize import repaired

ENGLISH = "The old man walked to the village because he wanted to buy some fresh bread."
TURKISH = "Yaşlı adam taze ekmek almak istediği için sabah erkenden köye doğru yürüdü."
NAMES = "Matthias Sammer, Karel Poborský, Patrik Berger, Giuseppe Meazza, Wolfgang Overath"


@pytest.fixture
def rules(make_params):
    return make_params({"corpus.language.kept": ["tr"]}).corpus


def reason_of(prompt, answer, rules, **more):
    row = Row(1, "a", prompt, answer, **more)
    drop_languages([row], rules.language)
    drop_repetition([row], rules.repetition)
    assert row.reason in ("", *REASONS)
    return row.reason


@pytest.mark.parametrize(
    ("prompt", "answer", "reason"),
    [
        (f"Özetle: {TURKISH}", "Ekmek almaya gitti.", ""),
        (f"What does he want? {ENGLISH}", "Ekmek istiyor.", "language"),
        (f"Ne oldu, anlat: {TURKISH}", ENGLISH, "language"),
        ("Bunu söyle.", "I know how to fly.", "language"),
        ("Bunu söyle.", "Good morning!", ""),  # too short to tell
        (f"Hangi futbolcular bu maçta oynadı, adlarını sırala?\n{NAMES} oynadı.", NAMES, ""),
        ("Yaz.", "çok " * 60, "repetition"),
        ("çok " * 60, "Yaz.", "repetition"),
        (f"{TURKISH}\n" * 9, "Yaz.", "repetition"),
        (  # options are alike by nature
            "Hangisi önce gelir?\n"
            + "\n".join(
                f"{letter}) Saatin ekranında görünen düğmeyi bir kez daha basılı tutun ve {what}"
                for letter, what in zip(
                    "ABCD", ("bekleyin", "bırakın", "çevirin", "çekin"), strict=True
                )
            ),
            "A",
            "",
        ),
    ],
)
def test_question_and_answer_are_judged_by_the_rules_of_the_corpus(prompt, answer, reason, rules):
    assert reason_of(prompt, answer, rules) == reason


def test_a_translation_is_in_any_language_but_repeats_nothing(rules):
    assert reason_of(f"Çevir: {TURKISH}", ENGLISH, rules, translation=True) == ""
    assert reason_of("Çevir.", "very " * 60, rules, translation=True) == "repetition"


def test_no_language_is_dropped_where_none_is_named(rules):
    nothing = rules.model_copy(update={"language": rules.language.model_copy(update={"kept": []})})
    assert reason_of(ENGLISH, ENGLISH, nothing) == ""


def test_personal_data_and_repairs_are_counted_once_a_row():
    edited = Counter()
    turns = (("user", "Ara: 0532 555 12 34"), ("assistant", "Kim?"), ("user", "T&uuml;rkan"))
    prompt = "\n".join(text for _, text in turns)
    row = raw_row(Instruction(prompt, "TÃ¼rkan: a@b.com", "s", "f", 1, turns), 2, edited)
    assert row.prompt == "Ara: [TELEFON]\nKim?\nTürkan"
    assert row.answer == "Türkan: [E-POSTA]"
    assert [text for _, text in row.turns] == ["Ara: [TELEFON]", "Kim?", "Türkan"]
    wanted = {"phone": 1, "email": 1, repaired("entities"): 1, repaired("utf8_as_latin-1"): 1}
    assert edited == wanted
    own = raw_row(Instruction("Ara: 0532 555 12 34", "Evet.", "s", "f", 1), 1)
    assert own.prompt == "Ara: 0532 555 12 34"  # of one's own rows nothing is taken out


def test_plates_are_replaced_and_counted_where_the_settings_say_so():
    asked = Instruction("34 ABC 123 kimin?", "Ali'nin.", "s", "f", 1)
    edited = {plates: Counter() for plates in (False, True)}
    rows = {plates: raw_row(asked, 1, edited[plates], plates=plates) for plates in edited}
    assert rows[False].prompt == asked.prompt
    assert rows[True].prompt == "[PLAKA] kimin?"
    assert edited == {False: {}, True: {"plate": 1}}


def test_sources_yaml_names_the_translations(tmp_path, monkeypatch, make_params):
    monkeypatch.setenv("DIFFUTRON_DATA", str(tmp_path))
    folder = tmp_path / "instruct"
    folder.mkdir()
    rows = [
        {"instruction": "Çevir.", "output": ENGLISH, "source": source} for source in ("x", "y", "z")
    ]
    for name in ("a", "b", "c"):
        lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        (folder / f"{name}.jsonl").write_text(f"{lines}\n{{}}", encoding="utf-8")
    (folder / "sources.yaml").write_text(
        "sources:\n- {files: a.jsonl, translation: true}\n- {files: b.jsonl, translation: [y]}\n"
    )
    values = {"instructions.source": "local", "instructions.digest": local_digest("instructions")}
    found = raw_instructions(make_params(values).instructions, 1, seed=3)
    kept = [one for one in found if not isinstance(one, BadLine)]
    exempt = [(one.file, one.source) for one in kept if one.translation]
    assert len(kept) == 9
    assert exempt == [("a.jsonl", "x"), ("a.jsonl", "y"), ("a.jsonl", "z"), ("b.jsonl", "y")]
