"""The encoder's configuration, folders in and out, and what is wrong with bad ones."""

import json
import shutil

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from diffutron.modeling.encoder import (
    count_parameters,
    load_model,
    read_special_ids,
    save_model,
    scratch_model,
)
from diffutron.runtime.errors import UserError


def test_special_ids_match_the_tokenizer(tiny_tokenizer_dir):
    tokenizer = AutoTokenizer.from_pretrained(tiny_tokenizer_dir)
    special = read_special_ids(tiny_tokenizer_dir)
    assert special.vocab_size == len(tokenizer)
    for name in ("pad", "bos", "eos", "mask"):
        assert getattr(special, name) == getattr(tokenizer, f"{name}_token_id")


def test_special_ids_of_a_bert_style_tokenizer(tiny_tokenizer_dir, tmp_path):
    folder = shutil.copytree(tiny_tokenizer_dir, tmp_path / "bert")
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    for name in ("bos_token", "eos_token"):
        config.pop(name, None)
    begin = {"__type": "AddedToken", "content": "<bos>"}
    config |= {"cls_token": begin, "sep_token": "<eos>"}
    file.write_text(json.dumps(config), encoding="utf-8")
    assert read_special_ids(folder) == read_special_ids(tiny_tokenizer_dir)


def test_a_tokenizer_without_mask_token(tiny_tokenizer_dir, tmp_path):
    folder = shutil.copytree(tiny_tokenizer_dir, tmp_path / "maskless")
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text(encoding="utf-8")) | {"mask_token": None}
    file.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(UserError, match="a tokenizer without mask token"):
        read_special_ids(folder)


@pytest.mark.parametrize("damage", ["absent", "no json", "no vocabulary"])
def test_a_damaged_tokenizer(damage, tiny_tokenizer_dir, tmp_path):
    folder = shutil.copytree(tiny_tokenizer_dir, tmp_path / "damaged")
    file = folder / "tokenizer.json"
    if damage == "absent":
        file.unlink()
    else:
        file.write_text("{" if damage == "no json" else "{}", encoding="utf-8")
    with pytest.raises(UserError, match="no tokenizer can be read there"):
        read_special_ids(folder)


def test_scratch_model_is_seeded_tied_and_complete(make_params, tiny_tokenizer_dir):
    section = make_params().backbone
    special = read_special_ids(tiny_tokenizer_dir)
    model = scratch_model(section, special, seed=3)
    assert torch.equal(model.decoder.weight, scratch_model(section, special, seed=3).decoder.weight)
    other = scratch_model(section, special, seed=4)
    assert not torch.equal(model.decoder.weight, other.decoder.weight)
    assert model.decoder.weight is model.model.embeddings.tok_embeddings.weight
    config = model.config
    ids = (config.pad_token_id, config.bos_token_id, config.eos_token_id)
    assert ids == (special.pad, special.bos, special.eos)
    assert (config.cls_token_id, config.sep_token_id) == (special.bos, special.eos)
    every = section.global_attn_every_n_layers
    kinds = ["sliding_attention" if i % every else "full_attention" for i in range(4)]
    assert config.layer_types == kinds[: section.num_layers]


def test_starts_from_identity(make_params, tiny_tokenizer_dir):
    special = read_special_ids(tiny_tokenizer_dir)
    changes = {"backbone.attention_identity": [0.7, 0.4], "backbone.head_identity": 0.9}
    section = make_params(changes).backbone
    plain = section.model_copy(update={"attention_identity": (0.0, 0.0), "head_identity": 0.0})
    model, usual = (scratch_model(one, special, seed=3) for one in (section, plain))
    eye = torch.eye(section.hidden_size)
    for layer in model.model.layers:
        query, key, value = layer.attn.Wqkv.weight.split(section.hidden_size)
        torch.testing.assert_close(query.T @ key, 0.7**2 * eye, atol=1e-5, rtol=0)
        torch.testing.assert_close(layer.attn.Wo.weight @ value, 0.4 * eye, atol=1e-5, rtol=0)
    torch.testing.assert_close(model.head.dense.weight - usual.head.dense.weight, 0.9 * eye)


def test_starts_with_wide_embeddings_and_blocks_that_add_nothing(make_params, tiny_tokenizer_dir):
    special = read_special_ids(tiny_tokenizer_dir)
    changes = {"embedding_range": 0.7, "zero_outputs": True, "global_rope_theta": 5000.0}
    changes |= {"head_identity": 1.0, "head_activation": "linear"}
    section = make_params({f"backbone.{key}": value for key, value in changes.items()}).backbone
    plain = section.model_copy(update={"attention_identity": (0.0, 0.0)})
    model = scratch_model(plain, special, seed=3)
    table = model.model.embeddings.tok_embeddings.weight
    assert table.std().item() == pytest.approx(0.7, rel=0.05)
    assert model.decoder.weight is table
    ids = torch.randint(0, special.vocab_size, (2, 9))
    through = model.model(input_ids=ids).last_hidden_state
    expected = model.model.final_norm(model.model.embeddings(ids))
    torch.testing.assert_close(through, expected)
    assert model.config.rope_parameters["full_attention"]["rope_theta"] == 5000.0
    assert model.config.rope_parameters["sliding_attention"]["rope_theta"] == 10000.0
    torch.testing.assert_close(model.head(through), model.head.norm(model.head.dense(through)))
    both = scratch_model(
        plain.model_copy(update={"attention_identity": (0.0, 0.5)}), special, seed=3
    )
    assert all(layer.attn.Wo.weight.any() for layer in both.model.layers)


def test_scratch_model_leaves_the_random_state_alone(make_params, tiny_tokenizer_dir):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    scratch_model(make_params().backbone, read_special_ids(tiny_tokenizer_dir), seed=1)
    assert torch.equal(torch.rand(3), expected)


def test_a_saved_folder_is_plain(tiny_model_dir, tmp_path):
    model = load_model(tiny_model_dir, made_by="backbone")
    save_model(model, tmp_path / "m", tokenizer=tiny_model_dir, description={"kind": "test"})
    again = AutoModelForMaskedLM.from_pretrained(tmp_path / "m")
    for mine, theirs in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert len(AutoTokenizer.from_pretrained(tmp_path / "m")) == model.config.vocab_size
    assert json.loads((tmp_path / "m" / "diffutron.json").read_text()) == {"kind": "test"}


def test_folders_that_are_no_model(tiny_model_dir, tmp_path):
    with pytest.raises(UserError, match="run the stage `merge` first"):
        load_model(tmp_path / "absent", made_by="merge")
    with pytest.raises(UserError, match="no checkpoint can be read there"):
        load_model(tmp_path, made_by="merge")
    folder = shutil.copytree(tiny_model_dir, tmp_path / "cut")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="the weights are damaged .* run the stage `merge` again"):
        load_model(folder, made_by="merge")


def test_a_checkpoint_without_head_is_refused(tiny_model_dir, tmp_path):
    model = load_model(tiny_model_dir, made_by="backbone")
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("head.")}
    model.save_pretrained(tmp_path / "headless", state_dict=state)
    with pytest.raises(UserError, match=r"no language-model head \(head\.dense\.weight is"):
        load_model(tmp_path / "headless", made_by="backbone")


def test_count_parameters(tiny_model_dir):
    model = load_model(tiny_model_dir, made_by="backbone")
    model.model.requires_grad_(False)
    counts = count_parameters(model)
    total = sum({id(p): p.numel() for p in model.parameters()}.values())
    trainable = model.head.dense.weight.numel() + model.head.norm.weight.numel()
    trainable += model.decoder.bias.numel()
    expected = {"parameters": total, "trainable": trainable, "trainable_share": trainable / total}
    assert counts == expected
