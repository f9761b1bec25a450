"""Chats of `messages`, answer spans on difficult texts, and equal numbers of each source."""

import json

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffutron.config.params import Params
from diffutron.data.instructions.instructions import instructions
from diffutron.data.instructions.row_table import RowTable, equal_shares
from diffutron.data.instructions.steps import Row, raw_row
from diffutron.data.matching.database import database
from diffutron.data.sources.instruction_schemas import Instruction, instruction_of, phase_of
from diffutron.data.sources.row_readers import BadLine, RawRow
from diffutron.data.sources.sources import local_digest
from diffutron.inference.prompts import chat_encoder
from diffutron.modeling.tokenizer import decode_answer, encode_prompt, load_tokenizer

MARKS = "\u0301\u0327\u0308\u0307"  # acute, cedilla, diaeresis, dot above
PIECES = [
    "👨\u200d👩\u200d👧",
    "🏳️\u200d🌈",
    "👍🏽",
    "🇹🇷",
    "İ",
    "i\u0307",
    "I",
    "ı",
    "ğ",
    "Ş",
    "ş\u0327",
]
TEXTS = st.lists(
    st.sampled_from([*PIECES, *MARKS, *"abcçöü 1.,?'’-\n\t", "kitap", " ne ", "\u00a0"]),
    min_size=1,
    max_size=30,
).map("".join)


@pytest.fixture(scope="module")
def encode(tiny_tokenizer_dir):
    return chat_encoder(tiny_tokenizer_dir)


@pytest.fixture(scope="module")
def tokenizer(tiny_tokenizer_dir):
    return load_tokenizer(tiny_tokenizer_dir)


@settings(max_examples=200, deadline=None)
@given(asked=TEXTS, answered=TEXTS, second=TEXTS)
def test_the_answer_is_exactly_its_span(encode, tokenizer, asked, answered, second):
    row = raw_row(Instruction(asked, answered, "s", "f", 1), 1)
    if not row.answer or not row.prompt:
        return
    ((prompt, answer),) = encode([row.prompt], [row.answer])
    assert decode_answer(tokenizer, answer) == row.answer
    assert prompt == encode_prompt(tokenizer, row.prompt)
    turns = [("user", asked), ("assistant", second), ("user", asked)]
    chat = [{"role": role, "content": text} for role, text in turns]
    ((longer, same),) = encode([chat], [row.answer])
    assert same == answer  # what stands before an answer changes none of its tokens
    assert longer[:2] == prompt[:2]
    assert longer[-1] == prompt[-1]


def test_a_chat_is_encoded_as_its_template_says(encode, tokenizer):
    chat = [
        {"role": "system", "content": "Kısa yanıtla."},
        {"role": "user", "content": "2 + 2?"},
        {"role": "assistant", "content": "4"},
        {"role": "user", "content": "Peki [Answer] 3 + 3?"},
    ]
    pairs = encode(["Merhaba", chat, "Selam"], ["a", "6", "b"])
    assert [decode_answer(tokenizer, answer) for _, answer in pairs] == ["a", "6", "b"]
    neutral = [*chat[:3], {"role": "user", "content": "Peki [ Answer] 3 + 3?"}]
    text = tokenizer.apply_chat_template(neutral, tokenize=False, add_generation_prompt=True)
    assert pairs[1][0] == tokenizer(text, add_special_tokens=False)["input_ids"]
    assert pairs[0][0] == encode_prompt(tokenizer, "Merhaba")


def messages(*turns: tuple[str, object]) -> dict:
    return {"messages": [{"role": role, "content": text} for role, text in turns]}


def test_chats_become_instructions():
    one = messages(("user", "Ne?"), ("assistant", "Bu."))
    assert phase_of(one) == 2
    assert phase_of({**one, "phase": 1}) == 1
    found = instruction_of(RawRow("a.jsonl", 3, one), 2, source=None)
    assert found == Instruction("Ne?", "Bu.", "a", "a.jsonl", 3)
    long = messages(("system", "S"), ("user", "Ne?"), ("assistant", "Bu."), ("user", "O?"))
    long["messages"].append({"role": "assistant", "content": "Şu."})
    found = instruction_of(RawRow("a.jsonl", 3, {**long, "source": "b"}), 2, source=None)
    assert isinstance(found, Instruction)
    assert (found.prompt, found.answer, found.source) == ("S\nNe?\nBu.\nO?", "Şu.", "b")
    assert [role for role, _ in found.turns] == ["system", "user", "assistant", "user"]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"messages": "x"}, "a list of objects"),
        ({"messages": []}, "user and assistant in turn"),
        (messages(("user", 3), ("assistant", "x")), "a list of objects"),
        (messages(("user", "x")), "the last one of the assistant"),
        (messages(("assistant", "x"), ("user", "y")), "user and assistant in turn"),
        (messages(("user", "x"), ("tool", "y")), "roles are system, user, assistant"),
        ({**messages(("user", "x"), ("assistant", "y")), "source": 3}, "source must be a text"),
    ],
)
def test_what_is_no_chat_is_a_bad_line(row, why):
    found = instruction_of(RawRow("a.jsonl", 1, row), 2, source=None)
    assert isinstance(found, BadLine)
    assert why in found.why


@given(
    st.dictionaries(st.sampled_from("abcde"), st.integers(1, 30), min_size=1), st.integers(1, 99)
)
def test_shares_are_as_equal_as_they_can_be(have, most):
    shares = equal_shares(have, most)
    assert sum(shares.values()) == min(most, sum(have.values()))
    assert all(shares[source] <= number for source, number in have.items())
    short = [source for source in have if shares[source] < have[source]]
    assert all(shares[one] <= shares[other] + 1 for one in have for other in short)


def test_balance_draws_the_same_number_of_each_source(make_params):
    rules = make_params({"instructions.max_rows": 9, "instructions.balance": "source"}).instructions
    sources = ["çok"] * 40 + ["az"] * 2 + ["orta"] * 20
    rows = [Row(1, source, f"soru {n}", "yanıt") for n, source in enumerate(sources)]
    with database() as db:
        table = RowTable(db, seed=3)
        table.add(rows)
        table.draw(1, rules)
        kept = table.counts("source", where="reason = ''")
    assert kept["az"] == 2
    assert sorted(kept.values()) == [2, 3, 4]


def test_a_folder_of_chats_goes_through_the_stage(tmp_path, monkeypatch, make_params, encode):
    monkeypatch.setenv("DIFFUTRON_DATA", str(tmp_path))
    (tmp_path / "instruct").mkdir()
    rows: list[dict] = [{"instruction": f"Say: {n}", "output": f"{n} tane"} for n in range(30)]
    rows += [
        messages(
            ("user", f"Kim {n}?"), ("assistant", "Ben."), ("user", "Ya o?"), ("assistant", f"O {n}")
        )
        for n in range(30)
    ]
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (tmp_path / "instruct" / "a.jsonl").write_text(lines, encoding="utf-8")
    params: Params = make_params(
        {
            "instructions.source": "local",
            "instructions.digest": local_digest("instructions"),
            "instructions.heldout_rows": 3,
            "corpus.contamination.tasks": ["ironytr"],
        }
    )
    out = tmp_path / "out"
    instructions(params, encode, out=out, metrics=tmp_path / "m.json")
    kept = pq.read_table(out / "phase2_train.parquet").to_pylist()
    assert len(kept) == 27
    asked = [{"role": "user", "content": kept[0]["prompt"].split("\n")[0]}]
    asked += [{"role": "assistant", "content": "Ben."}, {"role": "user", "content": "Ya o?"}]
    ((prompt, answer),) = encode([asked], [kept[0]["answer"]])
    assert kept[0]["input_ids"] == prompt + answer
    assert kept[0]["answer_start"] == len(prompt)
    assert "Phase 2" in (out / "card.html").read_text(encoding="utf-8")
    plot = (tmp_path / "m_steps.csv").read_text(encoding="utf-8").splitlines()
    assert plot[1] == "phase1 read,30,0"
