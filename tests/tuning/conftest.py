"""Rows that a tiny model can learn, and one tuning on them that the tests share."""

import json
import os
from pathlib import Path

import pytest

from diffutron.tuning.tune import Outcome, Request, tune

SHORT = (
    "training.steps=60", "training.learning_rate=0.01", "training.checkpoint_every=20",
    "training.evaluate_every=60", "asked_rows=9", "likelihood_rows=4",
)  # fmt: skip


def write_rows(path: Path) -> Path:
    """60 rows whose answer is told by one word of the question, and some that are dropped."""
    places = ("sokakta", "okulda", "evde", "parkta", "yolda")
    days = ("dün", "bugün", "sabah", "gece")
    rows = [
        {"instruction": f"{day} {place} {word} var", "output": answer}
        for word, answer in (("su", "mavi"), ("çöp", "gri"), ("ağaç", "yeşil"))
        for place in places
        for day in days
    ]
    rows += [rows[0], {"instruction": "boş", "output": ""}, {"prompt": "başka"}]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


@pytest.fixture(scope="session")
def rows_file(tmp_path_factory) -> Path:
    return write_rows(tmp_path_factory.mktemp("own") / "my.jsonl")


@pytest.fixture(autouse=True)
def _one_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tuned(tmp_path_factory, rows_file, tiny_model_dir) -> tuple[Request, Outcome, list[str]]:
    """A finished tuning: what was asked for, what came of it, the lines that were told."""
    import torch

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("tuned")
    request = Request(str(tiny_model_dir), rows_file, folder / "my-model", overrides=SHORT)
    told: list[str] = []
    before = os.environ.get("DIFFUTRON_CHECKPOINTS")
    os.environ["DIFFUTRON_CHECKPOINTS"] = str(folder / "checkpoints")
    try:
        return request, tune(request, told=told.append), told
    finally:
        os.environ.pop("DIFFUTRON_CHECKPOINTS")
        if before is not None:
            os.environ["DIFFUTRON_CHECKPOINTS"] = before
