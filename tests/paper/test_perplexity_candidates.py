"""The candidates for a perplexity against their definitions on short texts."""

import math

import pytest
import torch

from diffutron.modeling.encoding import begin_ids
from diffutron.paper.perplexity_candidates import candidates, read_texts
from diffutron.reporting.tables import candidate_lines
from diffutron.runtime.errors import UserError

TEXTS = ["Kedi.", "Evde."]


@pytest.fixture(scope="module")
def found(tiny_model_dir):
    return candidates(tiny_model_dir, TEXTS, samples=63)


def test_pseudo_perplexity_matches_one_mask_at_a_time(found, tiny):
    model, tokenizer = tiny
    nats, tokens = 0.0, 0
    for text in TEXTS:
        ids = [*begin_ids(tokenizer), *tokenizer(text, add_special_tokens=False)["input_ids"]]
        for place in range(1, len(ids)):
            masked = torch.tensor([ids])
            masked[0, place] = tokenizer.mask_token_id
            with torch.no_grad():
                logits = model(masked).logits[0, place]
            logits[tokenizer.mask_token_id] = -math.inf
            nats -= float(logits.log_softmax(-1)[ids[place]])
            tokens += 1
    assert found["tokens"] == tokens
    assert found["pseudo"]["token"] == pytest.approx(math.exp(nats / tokens), rel=1e-4)
    assert found["pseudo"]["byte"] == pytest.approx(math.exp(nats / 10), rel=1e-4)
    assert found["pseudo"]["word"] == pytest.approx(math.exp(nats / 2), rel=1e-4)


def test_units_are_of_one_total(found):
    for kind in ("nelbo", "pseudo"):
        totals = {
            found["tokens"] * math.log(found[kind]["token"]),
            found["words"] * math.log(found[kind]["word"]),
            found["bytes"] * math.log(found[kind]["byte"]),
        }
        assert max(totals) == pytest.approx(min(totals))
    assert (found["documents"], found["words"], found["bytes"]) == (2, 2, 10)
    assert list(found["masked"]) == ["0.05", "0.15", "0.3", "0.5", "0.7", "0.9"]
    assert all(value > 1 for value in found["masked"].values())


def test_the_table_has_every_candidate_and_the_published_numbers_apart(found):
    lines = candidate_lines({"one": found, "two": found})
    assert sum(line.startswith("| ") for line in lines) == 1 + 6 + 3 + 3
    assert lines[-1] == "published, protocol not stated: 3.42 before pre-training, 2.75 after"


def test_texts_are_drawn_from_a_file_or_the_sample(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(f'{{"text": "Metin {n}."}}\n' for n in range(9)), encoding="utf-8")
    drawn = read_texts(path, documents=4, seed=1)
    assert drawn == read_texts(path, documents=4, seed=1)
    assert len(drawn) == 4
    assert len(read_texts(None, documents=3, seed=0)) == 3
    path.write_text('{"txt": 1}\n')
    with pytest.raises(UserError, match="line 1: need an object with a text"):
        read_texts(path, documents=4, seed=1)
    with pytest.raises(UserError, match="no such file"):
        read_texts(tmp_path / "none.jsonl", documents=1, seed=0)


def test_a_folder_that_is_no_model_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no checkpoint can be read"):
        candidates(tmp_path, TEXTS, samples=2)
