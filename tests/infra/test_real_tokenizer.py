"""The hub's path with the real tokenizer of 256 000 tokens, which npm brings, and a small encoder.

The stages run as a user runs them, with the real clients, against a hub on loopback.
"""

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from diffutron.sample import documents, essays
from tests.support.fake_hub import serve
from tests.support.mmbert import VOCABULARY, NotFetched, save_model
from tests.support.project import copy_project
from tests.support.published_hub import SCALED, first, write_published

from .conftest import need

pytestmark = [pytest.mark.infra, pytest.mark.timeout(1800)]
ONE_STEP = (
    *SCALED,
    "instruct_phase1.training.steps=1",
    "instruct_phase1.training.evaluate_every=1",
)
TURKISH = [
    "Iğdır'da ılık bir güz; İSTANBUL’DA ŞİŞLİ, Çağrı'nın öğüdü!",
    "Âlim, hâlâ kâğıdı arıyor:\n\t“1.234,56 ₺”  🙂 a\u0308",
    "<bos> [Answer] <mask> bir metindir, işaret değil.",
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of this project, in which the stages up to one step of phase 1 have run."""
    need("npm")
    place = tmp_path_factory.mktemp("real")
    project = copy_project(place / "project")
    try:
        save_model(place / "model", project / "infra/profiles", width=32)
    except NotFetched as error:  # a machine may have no way to npm's registry
        pytest.xfail(str(error))
    write_published(place / "hub", place / "model")
    options = [word for override in ONE_STEP for word in ("-S", override)]
    with serve(place / "hub") as hub:
        environment = os.environ | {
            "HF_ENDPOINT": hub.url,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(place / "cache"),
            "HF_HUB_OFFLINE": "0",
            "HF_DATASETS_OFFLINE": "0",
        }
        for arguments in (
            ["params", "--profile", "paper", *options],
            ["tokenizer"],
            ["backbone"],
            ["instructions"],
            ["instruct_phase1", "--model", "models/backbone"],
        ):
            command = [sys.executable, "-m", "diffutron", *arguments]
            done = subprocess.run(
                command, cwd=project, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr[-3000:]}"
        yield project


def metrics(project: Path, stage: str) -> dict:
    return json.loads((project / f"metrics/{stage}.json").read_text(encoding="utf-8"))


def test_the_tokenizer_is_written_compactly_and_means_the_same(project):
    served = project.parent / "hub/models/jhu-clsp/mmBERT-base"
    files = served / "tokenizer.json", project / "data/tokenizer/tokenizer.json"
    theirs, ours = (Tokenizer.from_file(str(file)) for file in files)
    assert files[0].stat().st_size > 30e6
    assert files[1].stat().st_size < 14e6
    assert ours.get_vocab_size() == VOCABULARY == metrics(project, "tokenizer")["vocab_size"]
    texts = [*TURKISH, *(row["text"] for row in first(documents(), 50))]
    assert [one.ids for one in ours.encode_batch(texts)] == [
        one.ids for one in theirs.encode_batch(texts)
    ]


def test_turkish_text_comes_back_as_it_was(project):
    from diffutron.modeling.tokenizer import encode_chats, escape_special_tokens, load_tokenizer

    tokenizer = load_tokenizer(project / "data/tokenizer")
    texts = escape_special_tokens(tokenizer, TURKISH)
    texts += [row["text"] for row in [*first(documents(), 50), *first(essays(), 20)]]
    plain = tokenizer(texts, add_special_tokens=False)["input_ids"]
    assert [tokenizer.decode(ids) for ids in plain] == texts
    assert not {0, 1, 2, 3, 4} & {token for ids in plain for token in ids}
    for (question, answer), text in zip(encode_chats(tokenizer, texts, texts), texts, strict=True):
        joined = tokenizer.decode(question + answer)
        assert joined.count(text.strip()) == 2
        assert joined.endswith("<eos>")


def test_instructions_and_a_training_step_use_its_ids(project):
    from diffutron.data.token_store import read_instructions

    rows = read_instructions(project / "data/instructions", 1, "train", max_tokens=256)
    assert 65_535 < int(np.max(rows.ids)) < VOCABULARY  # ids that two bytes do not hold
    assert metrics(project, "backbone")["parameters"] > VOCABULARY * 32
    found = metrics(project, "instruct_phase1")
    assert (found["steps"], found["skipped_steps"]) == (1, 0)
    assert found["loss_first"] == pytest.approx(math.log(VOCABULARY), abs=1)  # it knows nothing yet
