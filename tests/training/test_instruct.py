"""Pretrain, merge and both instruction phases on toy data: what each leaves, and what it learns."""

import json

import polars as pl
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForMaskedLM

from diffutron.config.training_params import GeometricParams, MaskRates
from diffutron.data.token_store import read_documents, read_instructions
from diffutron.modeling.encoder import load_model
from diffutron.paper.caveats import caveats
from diffutron.runtime.errors import UserError
from diffutron.training.batches import epoch_order
from diffutron.training.instruct import instruct
from diffutron.training.merge import merge
from diffutron.training.pretrain import objective_of, pretrain

pytestmark = pytest.mark.slow

MASK = 4
ALL_RATES = MaskRates(low=0.0, high=1.0, shape="uniform")


def test_adapter_and_merged_model_agree(short_params, tiny_model_dir, corpus_dir, tmp_path):
    adapter, merged = tmp_path / "adapter", tmp_path / "merged"
    metrics = tmp_path / "metrics"
    params = short_params({"pretrain.training.steps": 25, "pretrain.lora.rank": 4})
    pretrain(
        params, backbone=tiny_model_dir, corpus=corpus_dir, out=adapter, metrics=metrics / "p.json"
    )
    values = json.loads((metrics / "p.json").read_text())
    assert values["is_bound"]
    assert values["objective"] == "MDLM bound, linear schedule"
    assert values["eval_loss"] < values["eval_loss_before"]
    assert 0 < values["trainable_share"] < 0.5
    assert (adapter / "adapter_model.safetensors").is_file()
    assert json.loads((adapter / "diffutron.json").read_text())["kind"] == "adapter"

    merge(params, backbone=tiny_model_dir, adapter=adapter, out=merged, metrics=metrics / "m.json")
    ids = torch.arange(20, 50)[None]
    adapted = PeftModel.from_pretrained(load_model(tiny_model_dir, made_by="backbone"), adapter)
    plain = AutoModelForMaskedLM.from_pretrained(merged)
    with torch.no_grad():
        expected = adapted.eval()(ids).logits
        torch.testing.assert_close(plain.eval()(ids).logits, expected, rtol=1e-4, atol=1e-4)
    values = json.loads((metrics / "m.json").read_text())
    assert values["parameters"] == values["trainable"]
    assert json.loads((merged / "diffutron.json").read_text())["kind"] == "merged"


def name_of(parts):
    kind, end = ("loss", " (not the bound)") if parts else ("bound", "")
    return ", ".join([f"MDLM {kind}", "linear schedule", *parts]) + end


@pytest.mark.parametrize(("method", "loss_share"), [("full", 0.5), ("lora", 0.7)])
def test_a_phase_learns_to_answer(
    method, loss_share, short_params, tiny_model_dir, instructions_dir, corpus_dir, tmp_path
):
    key = "instruct_phase1"
    params = short_params(
        {
            f"{key}.method": method,
            f"{key}.training.steps": 150,
            f"{key}.training.zero_stage": 1 if method == "lora" else 0,
            f"{key}.training.evaluate_every": 150,
            f"{key}.training.checkpoint_every": 150,
            f"{key}.max_eos_fill": 2,
            f"{key}.training.mask_rates.low": 0.5,
        }
    )
    out, metrics = tmp_path / "phase1", tmp_path / "phase1.json"
    texts = {"instructions": instructions_dir, "corpus": corpus_dir}
    instruct(params, 1, model=tiny_model_dir, **texts, out=out, metrics=metrics)
    values = json.loads(metrics.read_text())
    assert not values["is_bound"]
    assert values["objective"] == (
        "MDLM loss, linear schedule, mask rates 0.5 to 1 only, with end fill (not the bound)"
    )
    assert values["eval_objective"] == "MDLM loss, linear schedule, with end fill (not the bound)"
    assert values["eval_loss"] < loss_share * values["eval_loss_before"]
    description = json.loads((out / "diffutron.json").read_text())
    assert description["kind"] == "phase1"
    assert description["generation"] == params.evaluate.generation.model_dump()

    model = AutoModelForMaskedLM.from_pretrained(out).eval()
    if (
        method == "lora"
    ):  # adapters on a random encoder learn little; the folder is plain all the same
        return
    with torch.no_grad():  # the end of an answer, and the fill of its canvas, are learned
        logits = model(torch.tensor([[2, 30, 40, 50, 9, MASK, MASK, MASK, MASK]])).logits
    assert logits[0, 6:].argmax(-1).tolist() == [10, 1, 1]


@pytest.mark.parametrize(
    ("max_eos_fill", "normalize", "documents", "parts"),
    [
        (0, "token", 0, []),
        (2, "token", 0, ["with end fill"]),
        (2, "answer", 0, ["with end fill", "per answer"]),
        (0, "token", 3, []),
        (2, "token", 3, ["with end fill"]),
    ],
)
def test_phase_2_reads_its_own_rows_and_names_its_loss(
    max_eos_fill,
    normalize,
    documents,
    parts,
    short_params,
    tiny_model_dir,
    instructions_dir,
    corpus_dir,
    tmp_path,
):
    out, metrics = tmp_path / "phase2", tmp_path / "phase2.json"
    section = {"training.steps": 2, "training.mask_rates.low": 0.0}
    section |= {"max_eos_fill": max_eos_fill, "normalize": normalize}
    section |= {"replay.documents": documents, "training.batch_size": 8}
    params = short_params({f"instruct_phase2.{key}": value for key, value in section.items()})
    corpus = corpus_dir if documents else tmp_path / "absent"  # read for what is replayed alone
    texts = {"instructions": instructions_dir, "corpus": corpus}
    instruct(params, 2, model=tiny_model_dir, **texts, out=out, metrics=metrics)
    values = json.loads(metrics.read_text())
    assert values["eval_objective"] == name_of(parts)
    assert values["objective"] == name_of([*parts, *(["with replay"] if documents else [])])
    assert values["is_bound"] == (not parts and not documents)
    rows = read_instructions(instructions_dir, 2, "train", max_tokens=64)
    texts = read_documents(corpus_dir, "train", max_tokens=64)
    seen = rows.length[epoch_order(len(rows), params.seed, 0)[:16]].sum()
    again = texts.length[epoch_order(len(texts), params.seed, 0)[: 2 * documents]].sum()
    assert seen + again <= values["tokens"] <= seen + again + 16 * max_eos_fill
    assert (values["steps"], values["samples"], values["eval_samples"]) == (2, 40, 12)


def test_rows_that_cannot_be_used(instructions_dir, tmp_path):
    with pytest.raises(UserError, match="run the stage `instructions` first"):
        read_instructions(tmp_path / "absent", 1, "train", max_tokens=64)
    with pytest.raises(UserError, match="phase1_train.parquet: not readable"):
        read_instructions(tmp_path, 1, "train", max_tokens=64)
    with pytest.raises(UserError, match=r"a row has \d+ tokens and the model takes 8"):
        read_instructions(instructions_dir, 1, "train", max_tokens=8)
    frame = pl.read_parquet(instructions_dir / "phase1_train.parquet")
    frame.with_columns(pl.col("answer_end") - 1).write_parquet(tmp_path / "phase1_train.parquet")
    with pytest.raises(UserError, match="an answer must be the last part of its row"):
        read_instructions(tmp_path, 1, "train", max_tokens=64)
    frame.head(0).write_parquet(tmp_path / "phase1_train.parquet")
    with pytest.raises(UserError, match="has no rows"):
        read_instructions(tmp_path, 1, "train", max_tokens=64)


def test_a_schedule_is_a_name_or_a_name_with_its_range():
    assert objective_of("cosine", ALL_RATES).name == "MDLM bound, cosine schedule"
    own = GeometricParams(name="geometric", beta_min=0.01, beta_max=5.0)
    assert objective_of(own, ALL_RATES).name == "MDLM bound, geometric (0.01 to 5) schedule"
    part = objective_of(own, MaskRates(low=0.5, high=1.0, shape="bell"))
    assert part.name.endswith(
        "schedule, mask rates 0.5 to 1 only, bell-shaped mask rates (not the bound)"
    )
    assert not part.is_bound


@pytest.mark.parametrize("low", [0.0, 0.5])
@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"max_eos_fill": 0}, []),
        ({"max_eos_fill": 1}, ["with end fill"]),
        ({"max_eos_fill": 1, "eos_fill_weight": 0.0}, ["with end fill"]),
        ({"max_eos_fill": 0, "normalize": "answer"}, ["per answer"]),
        ({"max_eos_fill": 1, "normalize": "answer"}, ["with end fill", "per answer"]),
    ],
)
def test_only_a_loss_that_is_the_bound_is_called_so(changes, parts, low, make_params):
    changes = {f"instruct_phase1.{key}": value for key, value in changes.items()}
    params = make_params(changes | {"instruct_phase1.training.mask_rates.low": low})
    section = params.instruct_phase1
    assert section.loss_parts == parts
    found = objective_of(section.schedule, section.training.mask_rates, others=parts)
    assert found.is_bound == (not parts and low == 0.0)
    assert found.name.startswith("MDLM bound, ") == found.is_bound
    assert found.name.endswith(" (not the bound)") != found.is_bound
    assert all(part in found.name for part in parts)
    told = [caveat.subject for caveat in caveats(params) if "Phase 1" in caveat.subject]
    assert len(told) == (not found.is_bound)
    assert all(part in told[0] for part in parts)
