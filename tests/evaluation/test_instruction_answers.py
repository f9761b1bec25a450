"""Held-out questions: which are asked, how answers are counted, and what a trace holds."""

import shutil

import polars
import pytest

from diffutron.config.params import GenerationParams
from diffutron.evaluation.instruction_answers import (
    HeldoutInstruction,
    answer,
    answer_settings,
    answer_traces,
    instruction_measures,
    read_instructions,
)
from diffutron.modeling.tokenizer import encode_prompt
from diffutron.runtime.errors import UserError

PARAMS = GenerationParams(max_new_tokens=6, num_steps=6, block_length=6, temperature=0.0)


def question(number: int, *, phase: str = "phase1", expected: str = "evet", source: str = "a"):
    ids = [2, 30, 31 + number]
    return HeldoutInstruction(phase, str(number), source, f"Soru {number}?", expected, ids)


def test_questions_come_half_from_each_phase(instructions_dir, tiny):
    found = read_instructions(instructions_dir, rows=9, seed=1)
    assert [one.phase for one in found] == ["phase1"] * 4 + ["phase2"] * 5
    assert len({one.id for one in found}) == 9
    assert found[0].prompt_ids == encode_prompt(tiny[1], found[0].prompt)
    assert read_instructions(instructions_dir, rows=9, seed=1) == found
    assert len(read_instructions(instructions_dir, rows=1000, seed=1)) == 24


@pytest.mark.parametrize(("short", "counts"), [("phase1", (2, 6)), ("phase2", (6, 2))])
def test_a_phase_with_too_few_rows_is_filled_up_from_the_other(
    instructions_dir, tmp_path, short, counts
):
    folder = tmp_path / "instructions"
    shutil.copytree(instructions_dir, folder)
    path = folder / f"{short}_heldout.parquet"
    polars.read_parquet(path).head(2).write_parquet(path)
    found = read_instructions(folder, rows=8, seed=1)
    assert tuple(sum(one.phase == p for one in found) for p in ("phase1", "phase2")) == counts


def test_a_missing_or_damaged_file_is_named(instructions_dir, tmp_path):
    with pytest.raises(UserError, match="run the stage `instructions` first"):
        read_instructions(tmp_path / "nowhere", rows=2, seed=1)
    folder = tmp_path / "instructions"
    shutil.copytree(instructions_dir, folder)
    (folder / "phase2_heldout.parquet").write_bytes(b"no parquet")
    with pytest.raises(UserError, match=r"phase2_heldout\.parquet"):
        read_instructions(folder, rows=2, seed=1)


def test_exact_matches_are_counted_by_phase():
    questions = [
        question(1),
        question(2, expected="hayır"),
        question(3, phase="phase2", expected="Ankara"),
        question(4, phase="phase2", expected="Ankara"),
        question(5, phase="phase2", expected="kedi"),
    ]
    answers = [" evet\n", "evet", "Ankara", "ankara", ""]
    found, rows = instruction_measures(questions, answers, {"same": answers, "none": [""] * 5})
    assert (found["n"], found["correct"], found["acc"]) == (5, 2, 0.4)
    assert found["constant"] == 0.4
    assert (found["phase1"]["n"], found["phase1"]["correct"]) == (2, 1)
    assert (found["phase2"]["n"], found["phase2"]["correct"]) == (3, 1)
    assert found["phase2"]["constant"] == pytest.approx(2 / 3)
    assert [row["correct"] for row in rows] == [True, False, True, False, False]
    assert rows[0]["generated"] == " evet\n"
    assert found["same"] == found["acc"]
    assert found["phase2"]["same"] == found["phase2"]["acc"]
    assert found["none"] == 0
    assert rows[3]["baselines"] == {"same": "ankara", "none": ""}
    assert list(instruction_measures(questions[:1], ["evet"], {"same": ["evet"]})[0]) == [
        *("n", "correct", "acc", "low", "high", "constant", "same", "p_value", "phase1")
    ]


def test_an_answer_does_not_depend_on_its_batch(instructions_dir, tiny):
    questions = read_instructions(instructions_dir, rows=6, seed=1)
    together = answer(*tiny, questions, params=PARAMS, seed=3, desc="test")
    alone = [answer(*tiny, [one], params=PARAMS, seed=3, desc="test")[0] for one in questions]
    assert together == alone
    assert all(tiny[1].mask_token not in text for text in together)


def test_steps_must_cover_the_blocks():
    answer_settings(PARAMS)
    with pytest.raises(UserError, match="below the 3 blocks"):
        answer_settings(PARAMS.model_copy(update={"block_length": 2, "num_steps": 2}))


def test_a_marker_of_several_tokens_ends_an_answer_too(instructions_dir, tiny, monkeypatch):
    """Published tokenizers spell the marker out: then the text says where the answer ends."""
    import diffutron.evaluation.instruction_answers as module

    questions = read_instructions(instructions_dir, rows=4, seed=1)
    plain = answer(*tiny, questions, params=PARAMS, seed=3, desc="test")
    monkeypatch.setattr(module, "END_OF_ANSWER", "[/Yanıt]")
    assert answer(*tiny, questions, params=PARAMS, seed=3, desc="test") == plain


def test_traces_take_the_longest_expected_answers_one_a_source_first(tiny):
    questions = [
        question(1, expected="a" * 9, source="x"),
        question(2, expected="a" * 8, source="x"),
        question(3, expected="a" * 3, source="y"),
        question(4, expected="a" * 2, source="y"),
    ]
    traces = answer_traces(*tiny, questions, params=PARAMS, seed=3, count=3)
    assert [trace["prompt"] for trace in traces] == ["Soru 1?", "Soru 3?", "Soru 2?"]
    texts = answer(*tiny, questions, params=PARAMS, seed=3, desc="test")
    assert [trace["answer"] for trace in traces] == [texts[0], texts[2], texts[1]]
    assert answer_traces(*tiny, questions, params=PARAMS, seed=3, count=0) == []
    for trace in traces:
        tokens = [token for step in trace["steps"] for token in step["tokens"]]
        tokens.sort(key=lambda token: token["position"])
        text = "".join(token["token"] for token in tokens).strip()
        assert text.startswith(trace["answer"][:1])
