"""The files of one run, as the stages write them, with numbers that a demo can reach."""

import json
import math
import random
from pathlib import Path

import pytest

TASKS = {
    "belebele_tr": (0.25, 0.255, 0.25),
    "exams_tr": (0.25, 0.26, 0.78),
    "ironytr": (0.5, 0.5, 0.99),
    "news_cat": (0.2, 0.2, 0.985),
    "mnli_tr": (1 / 3, 0.335, 0.895),
    "sts_tr": (1 / 6, 0.17, 0.3),
    "xcopa_tr": (0.5, 0.5, 1.0),
}
BANDS = ("0-.1", ".1-.3", ".3-.6", ".6-1")


def task_scores(share: float, *, n: int = 200) -> dict:
    """Scores of a model that has learned `share` of what the final one has."""
    scores = {}
    for task, (chance, constant, final) in TASKS.items():
        correct = round(n * (chance + share * (final - chance)))
        acc = correct / n
        spread = 1.96 * math.sqrt(max(acc * (1 - acc), 0.004) / n)
        scores[task] = {
            "n": n,
            "correct": correct,
            "acc": acc,
            "acc_norm": max(acc - 0.01, 0.0),
            "low": max(acc - spread, 0.0),
            "high": min(acc + spread, 1.0),
            "chance": chance,
            "constant": constant,
            "p_value": 0.4 if acc < constant + 0.08 else 1e-7,
        }
    return scores


def model_scores(share: float, *, bits: float, n: int = 200) -> dict:
    correct = round(225 * share)
    return {
        "bits_per_byte": bits,
        "nelbo": bits * 2.9,
        "perplexity": {band: 1.6 + 2 * bits * (k + 1) for k, band in enumerate(BANDS)},
        "perplexity_text": {
            "bits_per_byte": bits + 0.9,
            "perplexity": {band: 2 + bits * (k + 1) for k, band in enumerate(BANDS)},
        },
        "tasks": task_scores(share, n=n),
        "instructions": {
            "n": 300,
            "correct": correct,
            "acc": correct / 300,
            "low": max(correct / 300 - 0.05, 0.0),
            "high": correct / 300 + 0.05,
            "constant": 0.0233,
            "majority_per_source": 0.131,
            "bag_of_words": 0.262,
            "p_value": 1e-9 if correct > 20 else 0.5,
        },
        "bits_per_byte_stderr": 0.0071,
        "generation": {
            "valid_words": 0.9 + 0.08 * share,
            "distinct_2": 0.7,
            "repetition": 0.02,
            "empty": 0.0,
        },
    }


def calibration() -> dict:
    after = {"nll": 0.7, "ece": 0.041, "low": 0.03, "high": 0.09}
    return {
        "choice": {
            "temperature": 1.52,
            "rows": 129,
            "acc": 0.59,
            "chance": 0.24,
            "before": {"nll": 0.9, "ece": 0.123, "low": 0.08, "high": 0.17},
            "after": after,
            "floor": 0.052,
        }
    }


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def write_curve(path: Path, *, steps: int, start: float, end: float) -> None:
    dice = random.Random(steps)
    lines = ["step,loss,learning_rate,eval_loss"]
    for step in range(1, steps + 1):
        mean = end + (start - end) * math.exp(-5 * step / steps)
        held_out = f"{mean + 0.05:.4f}" if step % (steps // 4) == 0 else ""
        lines.append(f"{step},{mean * dice.uniform(0.85, 1.15):.4f},0.002,{held_out}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def training_numbers(stage: str, *, steps: int, before: float, after: float) -> dict:
    return {
        "objective": "masked_diffusion",
        "is_bound": stage != "instruct_phase1",
        "steps": steps,
        "tokens": steps * 2048,
        "tokens_per_s": 21_512.7,
        "peak_share": 0.31,
        "eval_loss_before": before,
        "eval_loss": after,
        "parameters": 621_312,
        "trainable_share": 0.0812 if stage == "pretrain" else 1.0,
        "world_size": 2 if stage == "pretrain" else 1,
        "device": "cpu",
    }


SETS = {
    "ironytr": {"stand_in": False, "origin": "built-in sample", "rows": 200, "dropped": {}},
    "xcopa_tr": {
        "task": "diffutron_xcopa_tr",
        "stand_in": True,
        "origin": "built-in sample",
        "rows": 200,
        "dropped": {"label": 2},
        "findable": 198,
        "digest": "0123456789abcdef",
    },
}
TRACE = {
    "prompt": "Türkiye'nin başkenti neresidir?",
    "answer": "Türkiye'nin başkenti Ankara'dır.",
    "expected": "Ankara'dır.",
    "steps": [
        {"step": 1, "tokens": [{"position": 2, "token": " Ankara", "confidence": 0.99}]},
        {"step": 2, "tokens": [{"position": 0, "token": "Türkiye'nin", "confidence": 0.97}]},
        {
            "step": 3,
            "tokens": [
                {"position": 1, "token": " başkenti", "confidence": 0.93},
                {"position": 3, "token": "'da", "confidence": 0.51},
            ],
        },
        {"step": 4, "tokens": [{"position": 3, "token": None, "confidence": 0.0}]},
        {
            "step": 5,
            "tokens": [
                {"position": 3, "token": "'dır.", "confidence": 0.98},
                {"position": 4, "token": "[/Answer]", "confidence": 1.0},
            ],
        },
    ],
}


SECONDS = {"tokenizer": 6.2, "corpus": 9.0, "merge": 8.5, "instructions": 7.4}
TRAININGS = {  # seconds, steps, loss before and after
    "backbone": (105.0, 2000, 7.2, 1.33),
    "pretrain": (41.0, 300, 2.4, 1.9),
    "instruct_phase1": (100.0, 2000, 5.0, 0.2),
    "instruct_phase2": (96.0, 2600, 1.2, 0.1),
}
MODELS = {  # share of what the final one has learned, bits a byte
    "base": (0.0, 0.589),
    "merged": (0.02, 0.536),
    "phase1": (0.8, 0.61),
    "phase2": (1.0, 0.65),
}
ANSWERS = [
    {"prompt": "Gökyüzü <ne> renktir?", "expected": "Mavi.", "generated": "Mavi.", "correct": True},
    {"prompt": "Kuşlar ne yapar?", "expected": "Uçar.", "generated": "Yüzer.", "correct": False},
]
CORPUS_CARD = {
    "documents": {"read": 9000, "kept": 8700, "train": 8300, "heldout": 400},
    "dropped": {"too_short": 210, "duplicate": 90, "language": 0},
    "tokens": {"kept": 234_532, "train": 218_418, "heldout": 16_114},
    "fertility": 1.59,
    "examples": {"kept": [{"source": "haber", "text": "Bir cümle."}]},
}
PHASE_CARD = {
    "rows": {"read": 8000, "kept": 7990, "train": 7790, "heldout": 200},
    "dropped": {"bad_line": 10},
    "tokens": 160_000,
    "answer_tokens": 40_000,
}


@pytest.fixture
def run_files(tmp_path: Path) -> dict[str, Path]:
    """Folders of a finished run: metrics, evaluation, corpus, instructions."""
    metrics, data = tmp_path / "metrics", tmp_path / "data"
    write_metrics(metrics)
    write(data / "evaluation/traces.json", [TRACE])
    rows = [json.dumps(row, ensure_ascii=False) + "\n" for row in ANSWERS]
    (data / "evaluation/instructions_phase2.jsonl").write_text("".join(rows), encoding="utf-8")
    write(data / "corpus/card.json", CORPUS_CARD)
    write(data / "instructions/card.json", {"phase1": PHASE_CARD, "phase2": PHASE_CARD})
    folders = {name: data / name for name in ("evaluation", "corpus", "instructions")}
    return {"metrics_dir": metrics, **folders}


def write_metrics(folder: Path) -> None:
    for stage, value in SECONDS.items():
        write(folder / f"{stage}.json", {"seconds": value})
    for stage, (value, steps, start, end) in TRAININGS.items():
        numbers = training_numbers(stage, steps=steps, before=start, after=end)
        write(folder / f"{stage}.json", {"seconds": value, **numbers})
        write_curve(folder / f"{stage}.csv", steps=steps, start=start, end=end)
    found = {
        "models": {name: model_scores(share, bits=bits) for name, (share, bits) in MODELS.items()},
        "unigram": 1.71,
        "bigram": 0.834,
        "five_gram": 0.673,
        "baseline_tokens": {"unigram": 218_418, "bigram": 218_418, "five_gram": 218_418},
        "perplexity_text": {"unigram": 2.53, "bigram": 1.917, "five_gram": 1.762},
        "merged_below_base": {"difference": -0.053, "p_value": 1e-9},
        "sets": SETS,
        "missing_sets": [],
        "seconds": 62.0,
        "device": "cpu",
    }
    found["models"]["phase2"]["calibration"] = calibration()
    write(folder / "evaluate.json", found)
