"""`diffutron trim`: a smaller folder that answers as any other, and one line per mistake."""

import json
import shutil

import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner

import diffutron
from diffutron.cli.app import app
from diffutron.modeling.vocabulary import Kept
from diffutron.runtime.errors import UserError
from diffutron.tuning.trim import trim_model
from tests.conftest import SENTENCES


def write_texts(folder):
    """Documents, instructions, a text file, and two rows without a text."""
    folder.mkdir()
    rows = [{"text": sentence} for sentence in SENTENCES * 4]
    rows += [{"instruction": "Kedi?", "output": "köpek"}, {"Input": "Yarın", "Output": "sabah"}]
    rows += [{"prompt": "başka"}, {"instruction": "\ud800", "output": "yarım"}]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "text.txt").write_text("Bir metin.\n\nBir metin daha.\n")
    return folder


@pytest.fixture
def texts(tmp_path):
    return write_texts(tmp_path / "texts")


def test_the_folder_is_smaller_and_works(tiny_model_dir, texts, tmp_path):
    out, told = tmp_path / "small", []
    values = trim_model(str(tiny_model_dir), texts, 12, out, told=told.append)
    (line,) = told
    assert line.startswith("2 rows cannot be used: rows.jsonl line 27: no text and no instruction")
    assert "rows.jsonl line 28: not Unicode text" in line
    assert values["texts"] == {"read": 28, "heldout": 1, "unusable": 2}
    before, after = values["before"], values["after"]
    kept = Kept.read(out)
    assert kept is not None
    assert (before["vocab_size"], after["vocab_size"]) == (400, len(kept.ids))
    assert before["parameters"] - after["parameters"] == (400 - len(kept.ids)) * 33
    assert before["fertility"] <= after["fertility"]
    ours, theirs = (load_file(d / "model.safetensors") for d in (out, tiny_model_dir))
    name = "model.embeddings.tok_embeddings.weight"
    assert ours[name].tolist() == theirs[name][kept.ids].tolist()

    whole, small = diffutron.load(tiny_model_dir), diffutron.load(out)
    assert small.info["trimmed"] == {"from": str(tiny_model_dir), "entries_before": 400}
    assert small.tokenizer.chat_template == whole.tokenizer.chat_template
    answer = diffutron.generate(small, ["Kedi"], max_new_tokens=4, num_steps=4, block_length=4)[0]
    assert len(answer.token_ids) <= 4
    pairs = [("Kedi", " 7"), ("Kedi bahçede", "!")]  # of one token, which both have
    scores = [diffutron.score(lm, pairs) for lm in (whole, small)]
    for first, second in zip(*scores, strict=True):
        assert first.num_tokens <= second.num_tokens
        assert second.logprob < 0


def test_a_tuned_model_that_is_cut_is_no_longer_the_tuned_one(tiny_model_dir, texts, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(tiny_model_dir, base)
    info = {"kind": "tuned", "tuned": "key", "generation": {"max_new_tokens": 3}}
    (base / "diffutron.json").write_text(json.dumps(info))
    trim_model(str(base), texts, 12, tmp_path / "small", told=print)
    written = json.loads((tmp_path / "small" / "diffutron.json").read_text())
    assert "tuned" not in written
    assert (written["kind"], written["generation"]) == ("tuned", {"max_new_tokens": 3})


def test_on_the_command_line(tiny_model_dir, texts, tmp_path):
    words = ["trim", "--model", tiny_model_dir, "--data", texts, "--size", 12]
    shown = CliRunner().invoke(app, [*map(str, words), "--out", str(tmp_path / "small")])
    assert shown.exit_code == 0, shown.output
    assert "1 held-back texts" in shown.stdout
    assert "entries of the vocabulary" in shown.stdout
    assert f"diffutron chat --model {tmp_path / 'small'}" in shown.stdout


def empty(folder):
    (folder / "rows.jsonl").write_text('{"prompt": "?"}\n')
    (folder / "text.txt").unlink()


def few(folder):
    empty(folder)
    (folder / "rows.jsonl").write_text('{"text": "Tek metin."}\n')


@pytest.mark.parametrize(
    ("change", "size", "said"),
    [
        (shutil.rmtree, 12, "--data .*texts: there is no such file"),
        (empty, 12, "none of 1 rows can be used: rows.jsonl line 1: no text and no instruction"),
        (few, 12, "--size: there are fewer than 20 texts"),
        (lambda folder: None, 400, "--size: the vocabulary has 400 entries"),
        (
            lambda folder: (folder.parent / "small" / "mine").mkdir(parents=True),
            12,
            "--out .*holds",
        ),
    ],
)
def test_a_mistake_is_one_line(change, size, said, tiny_model_dir, texts, tmp_path):
    change(texts)
    there = {*tmp_path.glob("small/*")}
    with pytest.raises(UserError, match=said) as caught:
        trim_model(str(tiny_model_dir), texts, size, tmp_path / "small", told=print)
    assert "\n" not in str(caught.value)
    assert {*tmp_path.glob("small/*")} == there


def test_a_model_with_fewer_rows_than_tokens(tiny_model_dir, texts, tmp_path):
    from transformers import AutoTokenizer

    base = tmp_path / "base"
    shutil.copytree(tiny_model_dir, base)
    made = AutoTokenizer.from_pretrained(base)
    made.add_tokens(["<far>"])
    made.save_pretrained(base)
    with pytest.raises(UserError, match="400 token embeddings and its tokenizer 401 tokens"):
        trim_model(str(base), texts, 12, tmp_path / "small", told=print)
