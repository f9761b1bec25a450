"""A tuning from rows to a model: what it writes, what it measures, that it goes on, what it
refuses."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from diffutron import api
from diffutron.evaluation.instruction_answers import normalized_answer
from diffutron.operations.clean import find_waste
from diffutron.runtime.errors import UserError
from diffutron.training.trainer import Trainer
from diffutron.tuning.tune import Request, tune

pytestmark = pytest.mark.slow

KEYS = {"before", "after", "rows", "dropped", "seconds", "model"}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def ignore(line: str) -> None:
    """Nobody listens."""


def test_what_came_of_it(tuned):
    request, outcome, told = tuned
    values = outcome.values
    assert values.keys() >= KEYS
    assert values["rows"] == {"read": 63, "train": 50, "heldout": 10}
    assert values["dropped"] == {"bad_line": 1, "empty": 1, "duplicate": 1}
    assert values["model"] == str(request.out)
    assert values["after"]["exact"] > values["before"]["exact"]
    assert values["after"]["bits_per_byte"] < values["before"]["bits_per_byte"]
    assert values["after"]["loss"] < values["before"]["loss"]
    assert values["difference"]["bits_per_byte"]["verdict"] == "better"
    assert any("hours" in line or "of training" in line for line in told)
    assert any("1 rows cannot be used: my.jsonl line 63" in line for line in told)


def test_the_numbers_are_those_of_the_answers(tuned):
    request, outcome, _ = tuned
    file = request.out.with_name("my-model.answers.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(rows) == outcome.values["after"]["n"] == 9
    for side in ("before", "after"):
        correct = sum(
            normalized_answer(row[side]) == normalized_answer(row["expected"]) for row in rows
        )
        assert outcome.values[side]["correct"] == correct
    lm = api.load(request.out)
    found = api.generate(lm, [row["prompt"] for row in rows], seed=13)
    assert [one.text for one in found] == [row["after"] for row in rows]


def test_the_likelihoods_are_those_of_the_api(tuned, rows_file):
    """Four model rows per answer are exact for answers of up to two tokens; others are close."""
    request, outcome, _ = tuned
    rows = [
        json.loads(line)
        for line in request.out.with_name("my-model.answers.jsonl").read_text().splitlines()
    ]
    lm = api.load(request.out)
    from diffutron.modeling.tokenizer import encode_chats

    pairs = encode_chats(
        lm.tokenizer, [row["prompt"] for row in rows], [row["expected"] for row in rows]
    )
    from diffutron.diffusion.likelihood.any_order import score_continuations
    from diffutron.modeling.head import logprob_fn

    scores = score_continuations(
        logprob_fn(lm.model, mask_token_id=lm.mask_token_id),
        pairs,
        mask_token_id=lm.mask_token_id,
        pad_token_id=lm.pad_token_id,
        max_rows=4096,
    )
    bits = -sum(one.logprob for one in scores) / torch.log(torch.tensor(2.0)).item()
    size = sum(len(row["expected"].encode()) for row in rows)
    assert outcome.values["after"]["bits_per_byte"] == pytest.approx(bits / size, abs=0.25)


def test_the_model_knows_its_settings_and_its_card_holds_no_row(tuned, rows_file):
    request, outcome, _ = tuned
    info = json.loads((request.out / "diffutron.json").read_text())
    assert info["generation"] == outcome.values["settings"]["generation"]
    assert info["kind"] == "tuned"
    page = (request.out / "README.md").read_text()
    assert "| exact answers, of 9 |" in page
    for row in map(json.loads, rows_file.read_text().splitlines()):
        question = row.get("instruction")
        for file in request.out.glob("*.[jm][sd]*"):
            assert not question or f"{question}" not in file.read_text() or len(question) < 5


def test_a_second_call_trains_nothing(tuned, monkeypatch):
    request, outcome, _ = tuned
    monkeypatch.setattr("diffutron.tuning.tune._train", lambda *_: pytest.fail("trained again"))
    again = tune(request, told=ignore).values
    for key in outcome.values.keys() - {"seconds"}:
        assert again[key] == outcome.values[key]


@pytest.mark.parametrize("change", ["settings", "rows", "something else"])
def test_another_model_in_that_folder_stays(tuned, change, tmp_path, rows_file):
    request, _, _ = tuned
    before = (request.out / "model.safetensors").stat().st_mtime_ns
    if change == "settings":
        request = replace(request, overrides=(*request.overrides, "seed=14"))
    elif change == "rows":
        file = tmp_path / "fewer.jsonl"
        file.write_text("".join(rows_file.read_text().splitlines(keepends=True)[:50]))
        request = replace(request, data=file)
    else:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "notes.md").write_text("of mine")
        request = replace(request, out=tmp_path / "mine")
    with pytest.raises(UserError, match="name a new folder, or remove it"):
        tune(request, told=ignore)
    assert (tuned[0].out / "model.safetensors").stat().st_mtime_ns == before


def test_a_stopped_tuning_goes_on_to_the_same_weights(tuned, tmp_path, monkeypatch):
    request = replace(tuned[0], out=tmp_path / "again" / "my-model")
    plain = Trainer._step

    def stops(self, step, batch):
        if step == 50:
            raise KeyboardInterrupt
        plain(self, step, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", stops)
        with pytest.raises(KeyboardInterrupt):
            tune(request, told=ignore)
    assert not request.out.exists()
    (kept,) = Path("checkpoints").glob("tune-my-model-*")
    assert sorted(path.name for path in kept.iterdir()) == ["step-00000020", "step-00000040"]
    Path("dvc.yaml").touch()
    monkeypatch.setattr("diffutron.operations.clean._unused_cache", lambda: iter(()))
    assert kept not in [one.path for one in find_waste()]  # a tuning goes on from there
    steps: list[int] = []

    def counts(self, step, batch):
        steps.append(step)
        plain(self, step, batch)

    monkeypatch.setattr(Trainer, "_step", counts)
    tune(request, told=ignore)
    assert steps == list(range(40, 60))
    first, second = weights(tuned[0].out), weights(request.out)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not kept.exists()


def test_what_a_stop_after_the_training_costs(tuned, tmp_path, monkeypatch):
    """The model is there, so only the answers after it are asked for again."""
    request, outcome, _ = tuned
    copy = tmp_path / "copy" / "my-model"
    shutil.copytree(request.out, copy)
    (copy / "tune.json").unlink()
    monkeypatch.setattr("diffutron.tuning.tune._train", lambda *_: pytest.fail("trained again"))
    found = tune(replace(request, out=copy), told=ignore).values
    assert found["after"] == outcome.values["after"]


def test_only_a_plan(tiny_model_dir, rows_file, tmp_path):
    request = Request(str(tiny_model_dir), rows_file, tmp_path / "none")
    found = tune(request, told=ignore, only_plan=True).values
    assert found["training_hours"] > 0
    assert 0 < found["memory_bytes"] < found["free_bytes"]
    assert not request.out.exists()


def planned(model, rows_file, tmp_path, **more):
    told: list[str] = []
    request = Request(str(model), rows_file, tmp_path / "none", **more)
    tune(request, told=told.append, only_plan=True)
    return " ".join(told)


def test_an_adapter_where_the_memory_is_short(tiny_model_dir, rows_file, tmp_path, monkeypatch):
    assert "all weights" in planned(tiny_model_dir, rows_file, tmp_path)
    monkeypatch.setattr("diffutron.tuning.tune.free_memory", lambda: 1_000_000)
    said = planned(tiny_model_dir, rows_file, tmp_path)
    assert "LoRA of rank 64" in said
    assert "that does not fit" in said
    assert "all weights" in planned(tiny_model_dir, rows_file, tmp_path, method="full")


def test_a_model_without_chat_format_gets_one(tiny_model_dir, rows_file, tmp_path):
    plain = tmp_path / "plain"
    shutil.copytree(tiny_model_dir, plain)
    (plain / "chat_template.jinja").unlink()
    assert "has no chat format and learns `compact`" in planned(plain, rows_file, tmp_path)
    said = planned(plain, rows_file, tmp_path, chat_format="published")
    assert "no chat format" not in said


def test_a_model_of_the_hub(hub, tiny_model_dir, rows_file, tmp_path):
    shutil.copytree(tiny_model_dir, hub.store.folder / "models" / "someone" / "tiny")
    assert "all weights" in planned("someone/tiny", rows_file, tmp_path)
    assert "all weights" in planned("someone/tiny@main", rows_file, tmp_path)


def test_an_adapter_is_merged_first(tiny_model_dir, rows_file, tmp_path):
    from diffutron.config.training_params import LoraParams
    from diffutron.modeling.encoder import load_model
    from diffutron.modeling.lora import attach_lora

    adapter = tmp_path / "adapter"
    lora = LoraParams(rank=4, alpha=4, dropout=0)
    adapted = attach_lora(load_model(tiny_model_dir, made_by="test"), lora, seed=1)
    adapted.peft_config["default"].base_model_name_or_path = str(tiny_model_dir)
    adapted.save_pretrained(str(adapter))
    assert "all weights" in planned(adapter, rows_file, tmp_path)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"overrides": ("max_tokens=4000",)}, "the model holds 128 tokens"),
        ({"overrides": ("training.stepz=4",)}, "unknown key `training.stepz`"),
        ({"data": Path("absent.jsonl")}, "there is no such file"),
    ],
)
def test_a_mistake_is_one_line(tiny_model_dir, rows_file, tmp_path, more, said):
    request = Request(str(tiny_model_dir), rows_file, tmp_path / "none")
    with pytest.raises(UserError) as error:
        tune(replace(request, **more), told=ignore)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not request.out.exists()


def test_one_machine(tiny_model_dir, rows_file, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(UserError, match="one machine"):
        tune(Request(str(tiny_model_dir), rows_file, tmp_path / "none"), told=ignore)


def test_a_sorted_file_is_asked_about_as_a_whole(tiny_model_dir, rows_file, tmp_path, monkeypatch):
    """The rows of the file stand in the order of their answers; fewer are asked than held out."""
    asked: list[str] = []

    def listen(lm, folder, rows, settings, *, desc):
        asked.extend(row.answer for row in rows)
        raise KeyboardInterrupt

    monkeypatch.setattr("diffutron.tuning.answers.ask", listen)
    overrides = ("asked_rows=12", "heldout_rows=24")
    request = Request(str(tiny_model_dir), rows_file, tmp_path / "none", overrides=overrides)
    with pytest.raises(KeyboardInterrupt):
        tune(request, told=ignore)
    assert len(asked) == 12
    assert set(asked) == {"mavi", "gri", "yeşil"}


def test_answers_cost_no_more_than_half_of_the_training(tiny_model_dir, tmp_path):
    """Long answers to many rows: fewer rows are asked; what the user sets stays."""
    file = tmp_path / "long.jsonl"
    lines = [
        {"instruction": f"yaz {n} {n * n}", "output": f"{n} " + "su " * 24} for n in range(400)
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    request = Request(str(tiny_model_dir), file, tmp_path / "none")
    costs = []
    for own in ((), ("asked_rows=40",), ("training.steps=20000",)):
        found = tune(replace(request, overrides=own), told=ignore, only_plan=True)
        costs.append(found.values["answer_share"])
    default, chosen, long = costs
    assert default < chosen
    assert long <= 0.5
