"""Stage `backbone`: trained from scratch, or fetched."""

import csv
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM, AutoTokenizer

from diffutron.data.token_store import read_documents
from diffutron.modeling.encoder import read_special_ids, scratch_model
from diffutron.modeling.tokenizer import save_tokenizer, trim
from diffutron.runtime.errors import UserError
from diffutron.runtime.hub import open_repository
from diffutron.training.backbone import backbone
from diffutron.training.cooccurrence import cooccurrence_vectors
from tests.conftest import SENTENCES


@pytest.fixture
def paths(tiny_tokenizer_dir, corpus_dir, tmp_path):
    return {
        "tokenizer": tiny_tokenizer_dir,
        "corpus": corpus_dir,
        "out": tmp_path / "models" / "backbone",
        "metrics": tmp_path / "metrics" / "backbone.json",
    }


def test_from_scratch(short_params, paths, tmp_path, capsys):
    params = short_params({"backbone.training.steps": 40})
    backbone(params, **paths)
    model = AutoModelForMaskedLM.from_pretrained(paths["out"])
    assert model.config.vocab_size == len(AutoTokenizer.from_pretrained(paths["out"]))
    values = json.loads(paths["metrics"].read_text())
    assert values["eval_loss"] < 0.9 * values["eval_loss_before"]
    assert values["objective"] == values["eval_objective"] == "masked language model, rate 0.3"
    assert values["trainable"] == values["parameters"] == sum(p.numel() for p in model.parameters())
    assert values["tokens_per_s"] > 0
    assert 0 < values["peak_share"] < 1
    assert values["world_size"] == 1
    assert values["resumed_from"] is None
    with paths["metrics"].with_suffix(".csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["step"]) for row in rows] == list(range(1, 41))
    assert float(rows[-1]["eval_loss"]) == values["eval_loss"]
    assert rows[0]["eval_loss"] == ""
    description = json.loads((paths["out"] / "diffutron.json").read_text())
    assert description == {"kind": "backbone", "base": "scratch", "trained_with_eos": True}
    assert not any((tmp_path / "checkpoints").iterdir())
    assert "backbone: 40/40 (100 %)" in capsys.readouterr().out


def test_from_scratch_by_the_diffusion_loss(short_params, paths):
    """Its held-out loss is the bound over all mask rates, whichever ones are trained on."""
    changes = {"steps": 40, "mask_rates.low": 0.15, "optimizer.name": "muon"}
    changes = {f"backbone.training.{key}": value for key, value in changes.items()}
    backbone(short_params(changes | {"backbone.objective": "diffusion"}), **paths)
    values = json.loads(paths["metrics"].read_text())
    clipped = "MDLM loss, linear schedule, mask rates 0.15 to 1 only (not the bound)"
    assert (values["objective"], values["is_bound"]) == (clipped, False)
    assert values["eval_objective"] == "MDLM bound, linear schedule"
    assert values["eval_loss"] < 0.9 * values["eval_loss_before"]
    assert 0.5 < values["masked_tokens"] / values["tokens"] < 0.65


def test_embeddings_begin_with_the_counts_of_neighbors(short_params, paths):
    """They are as long as the random ones, which tokens without neighbors keep."""
    changes = {"backbone.embedding_window": 2, "backbone.training.steps": 1}
    params = short_params(changes | {"backbone.training.learning_rate": 1e-12})
    backbone(params, **paths)
    table = load_file(paths["out"] / "model.safetensors")["model.embeddings.tok_embeddings.weight"]
    special = read_special_ids(paths["tokenizer"])
    model = scratch_model(params.backbone, special, seed=params.seed)
    begun = model.model.embeddings.tok_embeddings.weight.detach()
    samples = read_documents(paths["corpus"], "train", max_tokens=512)
    rows, size = table.shape
    vectors = cooccurrence_vectors(samples, vocab_size=rows, size=size, window=2, seed=params.seed)
    known = vectors.any(dim=1)
    assert 0 < known.sum() < rows
    torch.testing.assert_close(table[~known], begun[~known])
    expected = vectors[known] * begun.norm(dim=1).mean()
    torch.testing.assert_close(table[known], expected, rtol=1e-4, atol=1e-5)


def test_from_a_folder(short_params, paths, tiny_model_dir):
    params = short_params({"backbone.source": "local", "backbone.name": str(tiny_model_dir)})
    backbone(params, **paths)
    ours, theirs = (load_file(d / "model.safetensors") for d in (paths["out"], tiny_model_dir))
    assert {k: v.tolist() for k, v in ours.items()} == {k: v.tolist() for k, v in theirs.items()}
    assert json.loads(paths["metrics"].read_text())["source"] == "local"
    assert paths["metrics"].with_suffix(".csv").read_text().startswith("step,loss")


def test_a_folder_that_does_not_fit_the_tokenizer(short_params, paths, tiny_model_dir, tmp_path):
    tokenizer = tmp_path / "larger"
    made = AutoTokenizer.from_pretrained(paths["tokenizer"])
    made.add_tokens(["<far>"])
    made.save_pretrained(tokenizer)
    params = short_params({"backbone.source": "local", "backbone.name": str(tiny_model_dir)})
    with pytest.raises(UserError, match=f"token embeddings and the tokenizer {len(made)} tokens"):
        backbone(params, **paths | {"tokenizer": tokenizer})
    assert not paths["out"].exists()


def cut_tokenizer(base, folder, *, size=8):
    """The tokenizer cut to a few tokens, as the stage `tokenizer` writes it."""
    found = trim(AutoTokenizer.from_pretrained(base), SENTENCES * 4, size, setting="test")
    save_tokenizer(found.tokenizer, folder)
    found.kept.write(folder)
    return found.kept


def test_the_rows_of_a_cut_vocabulary(short_params, paths, tiny_model_dir, tmp_path):
    kept = cut_tokenizer(paths["tokenizer"], tmp_path / "cut")
    params = short_params({"backbone.source": "local", "backbone.name": str(tiny_model_dir)})
    backbone(params, **paths | {"tokenizer": tmp_path / "cut"})
    ours, theirs = (load_file(d / "model.safetensors") for d in (paths["out"], tiny_model_dir))
    assert ours.keys() == theirs.keys()
    for name, weight in theirs.items():
        expected = weight[kept.ids] if len(weight) == 400 else weight
        assert ours[name].tolist() == expected.tolist(), name
    assert len(AutoTokenizer.from_pretrained(paths["out"])) == len(kept.ids) < 400
    metrics = json.loads(paths["metrics"].read_text())
    assert metrics["parameters"] == sum(weight.numel() for weight in ours.values())


def test_rows_of_another_vocabulary_are_refused(short_params, paths, tiny_model_dir, tmp_path):
    """Of as many tokens, with other ids."""
    state = (paths["tokenizer"] / "tokenizer.json").read_text()
    other = tmp_path / "other"
    shutil.copytree(paths["tokenizer"], other)
    (other / "tokenizer.json").write_text(
        state.replace('"a":', '"?":', 1).replace('"b":', '"a":', 1).replace('"?":', '"b":', 1)
    )
    cut_tokenizer(other, tmp_path / "cut")
    params = short_params({"backbone.source": "local", "backbone.name": str(tiny_model_dir)})
    with pytest.raises(UserError, match=r"are not those that tokenizer\.trim has cut"):
        backbone(params, **paths | {"tokenizer": tmp_path / "cut"})
    assert not paths["out"].exists()


def test_rows_of_a_cut_vocabulary_from_the_hub(hub, short_params, paths, tiny_model_dir, tmp_path):
    shutil.copytree(tiny_model_dir, hub.store.folder / "models/a/b")
    kept = cut_tokenizer(paths["tokenizer"], tmp_path / "cut")
    given = {"backbone.source": "hub", "backbone.name": "a/b", "backbone.revision": "main"}
    backbone(short_params(given), **paths | {"tokenizer": tmp_path / "cut"})
    model = AutoModelForMaskedLM.from_pretrained(paths["out"])
    assert model.config.vocab_size == len(kept.ids)


def test_from_the_hub_without_network(short_params, paths):
    """HF_HUB_OFFLINE is set for every test."""
    params = short_params({"backbone.source": "hub", "backbone.name": "nobody/nothing"})
    with pytest.raises(
        UserError, match=r"^backbone\.name: model nobody/nothing is not in the cache"
    ):
        backbone(params, **paths)


def test_from_the_hub_at_its_commit(hub, short_params, paths, tiny_model_dir):
    """Where the branch has moved since the commit was written down, the commit holds."""
    place = hub.store.folder / "models/a/b"
    shutil.copytree(tiny_model_dir, place)
    commit = open_repository("a/b").commit
    shutil.copytree(place, place.with_name(f"b@{commit}"))
    (place / "config.json").write_text("{}")
    given = {"backbone.source": "hub", "backbone.name": "a/b", "backbone.commit": commit}
    backbone(short_params(given), **paths)
    assert (paths["out"] / "model.safetensors").is_file()
    assert json.loads(paths["metrics"].read_text())["commit"] == commit
    with pytest.raises(UserError, match=f"model a/b has no revision {commit[::-1]}"):
        backbone(short_params(given | {"backbone.commit": commit[::-1]}), **paths)
