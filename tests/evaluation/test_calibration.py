"""Temperatures: found again where they are known, judged on other rows, carried by the model."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import polars
import pytest

import diffutron
from diffutron.evaluation import calibration
from diffutron.evaluation.calibration import calibrate, calibration_error, closed_questions, judge
from diffutron.evaluation.instruction_answers import HeldoutInstruction
from diffutron.inference.decisions import YES_NO


def drawn(rows: int, *, temperature: float, seed: int) -> tuple[list[list[float]], list[int]]:
    """Log-likelihoods whose right options are dealt out at a temperature."""
    generator = np.random.default_rng(seed)
    values = generator.normal(0, 3, (rows, 4))
    shares = np.exp(values / temperature)
    shares /= shares.sum(1, keepdims=True)
    gold = [int(generator.choice(4, p=share)) for share in shares]
    return values.tolist(), gold


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_found_again(temperature) -> None:
    values, gold = drawn(3000, temperature=temperature, seed=1)
    assert calibration.fit(values, gold) == pytest.approx(temperature, rel=0.08)


@pytest.mark.slow
def test_calibration_makes_the_error_that_of_exact_probabilities() -> None:
    found = judge(*drawn(1500, temperature=3.0, seed=2), seed=0)
    assert found["before"]["ece"] > 0.1 > 2 * found["after"]["ece"]
    assert found["after"]["nll"] < found["before"]["nll"]
    assert found["after"]["ece"] == pytest.approx(found["floor"], abs=0.02)
    assert found["before"]["low"] < found["before"]["ece"] < found["before"]["high"]
    assert (found["rows"], found["chance"]) == (1500, 0.25)
    assert judge(*drawn(1500, temperature=3.0, seed=2), seed=0) == found


def test_a_row_is_judged_by_a_temperature_that_never_saw_it(monkeypatch) -> None:
    values, gold = drawn(53, temperature=2.0, seed=3)
    fitted: dict[float, set[int]] = {}
    judged: list[tuple[int, float]] = []
    plain = calibration.outcome

    def fit(rows, _gold) -> float:
        temperature = 2.0 + len(fitted) / 1000
        fitted[temperature] = {id(row) for row in rows}
        return temperature

    def outcome(row, right, temperature):
        judged.append((id(row), temperature))
        return plain(row, right, temperature)

    monkeypatch.setattr(calibration, "fit", fit)
    monkeypatch.setattr(calibration, "outcome", outcome)
    found = judge(values, gold, seed=0)
    after = [(row, temperature) for row, temperature in judged if temperature != 1.0]
    assert {row for row, _ in after} == {id(row) for row in values}
    assert all(row not in fitted[temperature] for row, temperature in after)
    assert fitted[found["temperature"]] == {id(row) for row in values}


def test_a_temperature_that_helps_no_other_row_is_not_taken(monkeypatch) -> None:
    monkeypatch.setattr(calibration, "fit", lambda *_: 5.0)
    found = judge(*drawn(200, temperature=1.0, seed=4), seed=0)
    assert found["temperature"] == 1.0
    assert found["after"] == found["before"]
    assert judge(*drawn(200, temperature=5.0, seed=4), seed=0)["temperature"] == 5.0


def test_right_rows_alone_do_not_make_a_model_infinitely_sure() -> None:
    values = [[0.0, -9.0]] * 30
    assert 0.2 < calibration.fit(values, [0] * 30) <= 1.0


def test_the_error_is_the_mean_gap_of_equal_bins() -> None:
    sure = np.array([0.9] * 20 + [0.5] * 20)
    right = np.array([1.0] * 16 + [0.0] * 4 + [1.0] * 13 + [0.0] * 7)
    assert calibration_error(sure, right) == pytest.approx((0.1 + 0.15) / 2)
    assert calibration_error(sure[:5], right[:5]) == pytest.approx(0.1)


def heldout(source: str, answer: str, prompt: str = "Konu?") -> HeldoutInstruction:
    return HeldoutInstruction("phase1", "1", source, prompt, answer, [1, 2])


@pytest.fixture
def folder(tmp_path) -> Path:
    """Training rows: two sources with few answers, one with many, one with few that come once."""
    rows = [("konu", word, 2) for word in ("spor", "sanat", "ekonomi")]
    rows += [("ironi", word, 3) for word in YES_NO] + [("bilgi", str(n), 2) for n in range(30)]
    rows += [("az", word, 1) for word in ("a", "b")]
    flat = [(source, "Konu?", answer) for source, answer, count in rows for _ in range(count)]
    frame = polars.DataFrame(flat, schema=["source", "prompt", "answer"], orient="row")
    frame.write_parquet(tmp_path / "phase1_train.parquet")
    return tmp_path


def test_the_options_of_a_row_are_the_answers_of_its_source(folder) -> None:
    asked = [
        heldout("konu", "spor"),
        heldout("konu", "doğa"),  # an answer that training never saw
        heldout("ironi", "Hayır"),
        heldout("bilgi", "7"),
        heldout("bilgi", " Evet"),  # yes or no, wherever it stands
        heldout("az", "a"),
        heldout("yeni", "b"),
    ]
    found = closed_questions(asked, folder)
    told = [(one.question.kind, one.question.options[one.gold]) for one in found]
    assert told == [("choice", "spor"), ("noul", "Hayır"), ("noul", "Evet")]
    assert found[0].question.options == ("ekonomi", "sanat", "spor")
    assert found[0].question.prompt == "Konu?"


def test_a_model_carries_its_temperatures(folder, tiny_model_dir, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(calibration, "MIN_ROWS", 4)
    lm = diffutron.load(tiny_model_dir, device="cpu")
    words = ["spor", "sanat", "ekonomi"]
    asked = [heldout("konu", words[n % 3], f"Kedi {n}") for n in range(12)]
    asked += [heldout("ironi", YES_NO[n % 2]) for n in range(3)]  # too few
    found = calibrate(lm, asked, folder, seed=0, desc="test")
    assert [*found["kinds"]] == ["choice"]
    temperature = found["kinds"]["choice"]["temperature"]
    assert temperature != 1.0
    (plain,) = (diffutron.decide(lm, "Kedi 0", words),)
    shutil.copytree(tiny_model_dir, tmp_path / "model")
    (tmp_path / "model" / "calibration.json").write_text(json.dumps(found), encoding="utf-8")
    calibrated = diffutron.load(tmp_path / "model", device="cpu")
    assert calibrated.temperatures == {"choice": temperature}
    sure = diffutron.decide(calibrated, "Kedi 0", words)
    assert sure.temperature == temperature
    weights = [math.exp(score.logprob / temperature) for score in plain.scores.values()]
    right = [weight / sum(weights) for weight in weights]
    assert [*sure.probabilities.values()] == pytest.approx(right, abs=1e-6)
    assert diffutron.decide(calibrated, "Kedi 0", [*YES_NO]).temperature == 1.0
    assert diffutron.decide(calibrated, "Kedi 0", words, temperature=1.0) == plain


@pytest.mark.parametrize(
    "content", ["{}", "[]", '{"kinds": {"choice": {"temperature": 0}}}', '{"kinds": {"noul": 1}}']
)
def test_a_wrong_calibration_is_named(tiny_model_dir, tmp_path, content) -> None:
    shutil.copytree(tiny_model_dir, tmp_path / "model")
    (tmp_path / "model" / "calibration.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"path=.*calibration\.json holds"):
        diffutron.load(tmp_path / "model", device="cpu")
