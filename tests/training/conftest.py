"""A small corpus and instruction set that a tiny model can learn, and short trainings on them."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from diffutron.data.token_store import read_documents
from diffutron.diffusion.process.loss import masked_diffusion
from diffutron.modeling.encoder import load_model
from diffutron.modeling.lora import attach_lora
from diffutron.training.batches import TrainingSet
from diffutron.training.checkpoint import Checkpoints
from diffutron.training.ranks import training_process
from diffutron.training.trainer import Trainer
from tests.support.trainings import before, interrupt

SHORT = {
    "steps": 12,
    "epochs": None,
    "batch_size": 8,
    "packed_length": 48,
    "micro_batch_rows": 2,
    "learning_rate": 0.01,
    "checkpoint_every": 5,
    "evaluate_every": 6,
    "evaluate_samples": 12,
}


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """Checkpoints go to the working directory; one thread, so that equal means equal bits."""
    import torch

    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)


@pytest.fixture
def short_params(make_params):
    """The demo's parameters with short trainings; further changes by dotted key."""

    def make(changes: dict | None = None):
        stages = ("backbone", "pretrain", "instruct_phase1", "instruct_phase2")
        short = {
            f"{stage}.training.{key}": value for stage in stages for key, value in SHORT.items()
        }
        short |= {"backbone.num_layers": 2, "backbone.hidden_size": 32, "backbone.num_heads": 2}
        short |= {"backbone.intermediate_size": 48, "backbone.local_attention": 16}
        return make_params(short | (changes or {}))

    return make


def documents(number: int, seed: int) -> list[np.ndarray]:
    """Token ids of documents: runs that count upwards, so that a neighbor tells a token."""
    generator = np.random.default_rng(seed)
    made = []
    for _ in range(number):
        length = int(generator.integers(4, 30))
        first = int(generator.integers(20, 60))
        made.append(np.array([2, *range(first, first + length), 1], dtype=np.uint16))
    return made


@pytest.fixture(scope="session")
def corpus_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("toy") / "corpus"
    folder.mkdir()
    for split, number, seed in (("train", 61, 1), ("heldout", 17, 2)):
        texts = documents(number, seed)
        np.save(folder / f"{split}_ids.npy", np.concatenate(texts))
        bounds = np.cumsum([0, *map(len, texts)]).astype(np.int64)
        np.save(folder / f"{split}_bounds.npy", bounds)
    return folder


@pytest.fixture(scope="session")
def instructions_dir(tmp_path_factory) -> Path:
    """A question of random tokens; the answer is its first token, then marker 10 and the end."""
    folder = tmp_path_factory.mktemp("toy") / "instructions"
    folder.mkdir()
    generator = np.random.default_rng(3)
    for name in ("phase1_train", "phase1_heldout", "phase2_train", "phase2_heldout"):
        rows = []
        for _ in range(40 if "train" in name else 12):
            question = generator.integers(20, 90, size=int(generator.integers(3, 12))).tolist()
            rows.append(([2, *question, 9, question[0], 10, 1], len(question) + 2))
        frame = pl.DataFrame(
            {
                "input_ids": [row for row, _ in rows],
                "answer_start": [start for _, start in rows],
                "answer_end": [len(row) for row, _ in rows],
            },
            schema_overrides={"input_ids": pl.List(pl.Int32)},
        )
        frame.write_parquet(folder / f"{name}.parquet")
    return folder


@pytest.fixture
def train(tiny_model_dir, corpus_dir, short_params):
    """`train(stop_at=7, zero_stage=2, ...)`: a training of the tiny model, whole or cut short.

    `lora` is None or the adapters' dropout.
    """

    def run(*, name="toy", stop_at=None, lora=None, **changes):
        changes = {f"pretrain.training.{key}": value for key, value in changes.items()}
        changes["pretrain.lora.dropout"] = lora or 0.0
        section = short_params(changes).pretrain
        with training_process() as ranks:
            model = load_model(tiny_model_dir, made_by="backbone")
            if lora is not None:
                attach_lora(model, section.lora, seed=1)
            samples, heldout = (
                read_documents(corpus_dir, s, max_tokens=64) for s in ("train", "heldout")
            )
            data = TrainingSet(samples, masked_diffusion("linear"), 5, 4, 0)
            checkpoints = Checkpoints(name, ranks, zero_stage=section.training.zero_stage)
            training = Trainer(
                model,
                data,
                data.heldout(heldout.first(section.training.evaluate_samples)),
                section.training,
                ranks,
                name="pretrain",
                checkpoints=checkpoints,
            )
            if stop_at is not None:
                before(training, stop_at, interrupt)
                with pytest.raises(KeyboardInterrupt):
                    training.run()
                return training
            training.run()
            training.gather_full_weights()
            return training

    return run
