"""What a user imports, on a tiny real model."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import diffutron
from diffutron.modeling.tokenizer import chat_template

HALF = "Ser\ud83de"  # half of an emoji, as JSON may hold it


@pytest.fixture(scope="module")
def lm(tiny_model_dir):
    return diffutron.load(tiny_model_dir, device="cpu")


@pytest.fixture(scope="module")
def published(tiny_model_dir, tmp_path_factory) -> Path:
    """A checkpoint of another maker: no diffutron.json, chat markers as ordinary text."""
    from tokenizers import AddedToken  # noqa: F401  the fast tokenizer's own package

    folder = tmp_path_factory.mktemp("published") / "model"
    shutil.copytree(tiny_model_dir, folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["added_tokens"] = [t for t in tokenizer["added_tokens"] if t["content"][0] == "<"]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    for name in ("additional_special_tokens", "extra_special_tokens", "added_tokens_decoder"):
        config.pop(name, None)
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(chat_template("published"), encoding="utf-8")
    return folder


def answering(lm, answer: str, monkeypatch):
    """A head that wants `answer` at the places after the prompt, each a little less surely."""
    from diffutron import api

    ids = lm.tokenizer(answer, add_special_tokens=False)["input_ids"]

    def make(_model, *, mask_token_id):
        def fn(rows, mask, positions):
            row, place = positions.nonzero(as_tuple=True)
            first = (rows == mask_token_id).int().argmax(dim=1)
            start[0] = first[0] if start[0] is None else start[0]
            wanted = torch.tensor(ids)[(place - start[0]).clamp_max(len(ids) - 1)]
            return torch.nn.functional.one_hot(wanted, lm.vocab_size) * (9.0 - place[:, None] / 50)

        start: list = [None]
        return fn

    monkeypatch.setattr(api, "logits_fn", make)


def test_generate_is_the_same_in_any_company(lm) -> None:
    prompts = ["Ankara nerede?", "Kedi", "Yarın sabah erkenden yola çıkacağız."]
    options = {"max_new_tokens": 8, "num_steps": 4, "block_length": 4, "seed": 3}
    for temperature in (0.0, 1.0):
        together = diffutron.generate(lm, prompts, temperature=temperature, **options)
        alone = [
            diffutron.generate(lm, [p], temperature=temperature, **options)[0] for p in prompts
        ]
        assert [row.token_ids for row in together] == [row.token_ids for row in alone]
        assert [row.text for row in together] == [row.text for row in alone]
    again = diffutron.generate(lm, [prompts[0], prompts[0]], temperature=1.0, **options)
    assert again[0] == again[1]
    other = diffutron.generate(lm, prompts, temperature=1.0, **(options | {"seed": 4}))
    assert [row.token_ids for row in other] != [row.token_ids for row in together]


def test_generated_carries_its_trace(lm) -> None:
    (found,) = diffutron.generate(lm, ["Kedi"], max_new_tokens=6, suppress=(0, 1, 10))
    data = found.trace.as_dict()
    assert json.loads(json.dumps(data)) == data
    tokens = {t["position"]: t["token"] for step in data["steps"] for t in step["tokens"]}
    assert sorted(tokens) == list(range(6))
    assert "".join(tokens[n] for n in range(6)).strip() == found.text or "�" in found.text
    assert (data["prompt"], data["answer"], data["block_length"]) == ("Kedi", found.text, 6)
    assert [event.token_id for event in sorted(found.trace.events, key=lambda e: e.position)] == (
        found.token_ids
    )


def test_the_answer_ends_at_its_marker(lm, published, monkeypatch) -> None:
    for model in (lm, diffutron.load(published, device="cpu")):
        answering(model, " Kedi bahçede[/Answer] uyuyor", monkeypatch)
        (found,) = diffutron.generate(model, ["Nerede?"], max_new_tokens=32, num_steps=32)
        assert found.text == "Kedi bahçede"
        assert len(found.token_ids) < 32
        assert found.num_steps < 32
    marker = diffutron.load(published).tokenizer("[/Answer]", add_special_tokens=False)["input_ids"]
    assert len(marker) > 1


def test_a_published_checkpoint_gets_the_published_chat_format(published) -> None:
    from diffutron.inference.prompts import encode

    model = diffutron.load(published, device="cpu")
    assert model.info == {}
    (ids,) = encode(
        model.tokenizer,
        [[{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]],
        chat=True,
    )
    assert model.tokenizer.decode(ids) == (
        "[SYS]\nS\n[/SYS]\n\n[Question]\nU\n[/Question]\n\n[Answer]\n"
    )


def test_defaults_come_from_the_folder(tiny_model_dir, tmp_path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_dir, folder)
    info = {
        "generation": {"max_new_tokens": 4, "num_steps": 2, "block_length": 4, "temperature": 0.0},
        "trained_with_eos": True,
    }
    (folder / "diffutron.json").write_text(json.dumps(info), encoding="utf-8")
    model = diffutron.load(folder, device="cpu")
    (found,) = diffutron.generate(model, ["Kedi"], suppress=(0, 1, 10))
    assert (len(found.token_ids), found.num_steps) == (4, 2)
    ended, open_ = (
        diffutron.nelbo(m, ["Kedi"])[0] for m in (model, diffutron.load(tiny_model_dir))
    )
    assert ended.num_tokens == open_.num_tokens + 1


def test_a_temperature_next_to_zero_takes_the_best_token(lm) -> None:
    best = diffutron.generate(lm, ["Kedi"], max_new_tokens=4)[0].token_ids
    for exponent in (-6, -8, -30, -40, -300):
        near = diffutron.generate(lm, ["Kedi"], max_new_tokens=4, temperature=10.0**exponent)
        assert near[0].token_ids == best


def test_rows_of_the_model_without_a_token_are_never_produced(tiny_model_dir, tmp_path) -> None:
    """A published vocabulary may be padded; one such row is made the likeliest by far."""
    plain = diffutron.load(tiny_model_dir)
    tokens = len(plain.tokenizer)
    plain.model.resize_token_embeddings(tokens + 60)
    with torch.no_grad():
        plain.model.decoder.bias[tokens + 5] = 50.0
    plain.model.save_pretrained(tmp_path)
    plain.tokenizer.save_pretrained(tmp_path)
    lm = diffutron.load(tmp_path)
    assert lm.unused_ids == tuple(range(tokens, tokens + 60))
    generated = diffutron.generate(lm, ["Kedi"], max_new_tokens=4, suppress=(7,))
    filled = diffutron.infill(lm, ["Kedi [MASK] uyuyor"])
    assert max(token for row in (*generated, *filled) for token in row.token_ids) < tokens


def test_infill_keeps_all_that_is_given(lm) -> None:
    texts = ["Ankara [MASK] başkentidir.", "<mask> bahçede[MASK][MASK] uyuyor"]
    found = diffutron.infill(lm, texts)
    assert found[0].text.startswith("Ankara")
    assert found[0].text.endswith(" başkentidir.")
    assert " bahçede" in found[1].text
    assert [len(row.token_ids) for row in found] == [1, 3]
    assert not set(lm.tokenizer.all_special_ids) & {t for row in found for t in row.token_ids}
    assert found[0].token_ids == diffutron.infill(lm, texts[:1])[0].token_ids


def test_score_is_the_bound_of_the_whole_model(lm) -> None:
    """Two tokens by hand: log p of each alone and both, from full forward passes."""
    context, continuation = "Kedi", " bahçede"
    (score,) = diffutron.score(lm, [(context, continuation)])
    begin = [
        lm.tokenizer.bos_token_id,
        *lm.tokenizer(context, add_special_tokens=False)["input_ids"],
    ]
    x = lm.tokenizer(continuation, add_special_tokens=False)["input_ids"]
    total = 0.0
    for code in range(1, 2 ** len(x)):
        masked = [i for i in range(len(x)) if code >> i & 1]
        ids = [*begin, *(lm.mask_token_id if i in masked else t for i, t in enumerate(x))]
        with torch.no_grad():
            logits = lm.model(input_ids=torch.tensor([ids])).logits[0].double()
        logits[:, lm.mask_token_id] = -math.inf
        logprobs = logits.log_softmax(-1)
        k = len(masked)
        value = sum(float(logprobs[len(begin) + i, x[i]]) for i in masked)
        total += value / k / math.comb(len(x), k)
    assert score.logprob == pytest.approx(total, abs=1e-3)
    assert (score.num_tokens, score.num_rows, score.exact) == (len(x), 2 ** len(x) - 1, True)


def test_score_and_nelbo_do_not_depend_on_batches(lm) -> None:
    pairs = [("Kedi", " bahçede"), ("Kedi", " evde bekliyor"), ("Ankara", " Kedi")]
    one, many = (diffutron.score(lm, pairs, max_rows=6, batch_size=n) for n in (1, 64))
    assert [s.logprob for s in one] == pytest.approx([s.logprob for s in many], abs=1e-4)
    (bound,) = diffutron.nelbo(lm, ["Kedi bahçede"])
    (alone,) = diffutron.nelbo(lm, ["Kedi bahçede"], batch_size=1)
    assert bound.nats == pytest.approx(alone.nats, abs=1e-4)
    assert bound.bits_per_byte == pytest.approx(bound.nats / math.log(2) / 13)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda lm: diffutron.generate(lm, [""]), "prompts: number 0 is empty"),
        (lambda lm: diffutron.generate(lm, ["a", "  "]), "prompts: number 1 is empty"),
        (lambda lm: diffutron.generate(lm, [[]]), "prompts: number 0 is empty"),
        (lambda lm: diffutron.generate(lm, "Kedi"), "prompts: need a list"),
        (
            lambda lm: diffutron.generate(lm, ["kedi " * 90]),
            "prompts: number 0 has .* tokens and 64 new",
        ),
        (lambda lm: diffutron.generate(lm, [[2, 399, 400]]), "outside the vocabulary of 400"),
        (lambda lm: diffutron.generate(lm, [[2, -1]]), "prompts: number 0 holds token ids outside"),
        (
            lambda lm: diffutron.generate(lm, [[{"role": "bot", "content": ""}]]),
            "prompts: number 0 holds",
        ),
        (
            lambda lm: diffutron.generate(lm, [[{"role": "user", "content": "a"}]], chat=False),
            "is a chat",
        ),
        (lambda lm: diffutron.generate(lm, ["a"], num_steps=0), "num_steps=0 must be at least 1"),
        (
            lambda lm: diffutron.generate(lm, ["a"], num_steps=1, block_length=16),
            "num_steps=1 must",
        ),
        (lambda lm: diffutron.generate(lm, ["a"], temperature=math.inf), "temperature=inf"),
        (lambda lm: diffutron.generate(lm, ["a"], temperature=math.nan), "temperature=nan"),
        (lambda lm: diffutron.generate(lm, ["a"], guidance=math.inf), "guidance=inf"),
        (lambda lm: diffutron.generate(lm, ["a"], repetition_penalty=math.inf), "penalty=inf"),
        (lambda lm: diffutron.generate(lm, ["a", HALF]), "no Unicode text"),
        (lambda lm: diffutron.generate(lm, [HALF], chat=False), "no Unicode text"),
        (lambda lm: diffutron.infill(lm, [f"[MASK] {HALF}"]), "no Unicode text"),
        (lambda lm: diffutron.score(lm, [("a", HALF)]), "no Unicode text"),
        (lambda lm: diffutron.nelbo(lm, [HALF]), "no Unicode text"),
        (lambda lm: diffutron.generate(lm, ["a"], max_new_tokens=0), "max_new_tokens=0"),
        (
            lambda lm: diffutron.generate(lm, ["a"], max_new_tokens=9, block_length=2),
            "block_length=2",
        ),
        (lambda lm: diffutron.generate(lm, ["a"], color=1), "color is no setting"),
        (lambda lm: diffutron.infill(lm, ["nothing"]), r"texts: number 0 holds no \[MASK\]"),
        (lambda lm: diffutron.infill(lm, ["[MASK]"], num_steps=-1), "num_steps=-1"),
        (lambda lm: diffutron.infill(lm, ["[MASK] " + "kedi " * 90]), "texts: number 0 has"),
        (lambda lm: diffutron.score(lm, [("a", "b")], max_rows=0), "max_rows=0"),
        (lambda lm: diffutron.nelbo(lm, [""]), "texts: number 0 is empty"),
        (lambda lm: diffutron.nelbo(lm, ["a"], num_samples=0), "max_rows=0"),
    ],
)
def test_bad_input_names_the_argument(lm, call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(lm)


def test_nan_logits_are_refused(tiny_model_dir) -> None:
    broken = diffutron.load(tiny_model_dir, device="cpu")
    with torch.no_grad():
        broken.model.head.dense.weight.fill_(math.nan)
    with pytest.raises(ValueError, match="NaN logits"):
        diffutron.generate(broken, ["Kedi"], max_new_tokens=2)
    with pytest.raises(ValueError, match="NaN logits"):
        diffutron.score(broken, [("Kedi", " ev")])


HOSTILE = ["; touch exploded", "$(touch exploded)", "`touch exploded`", "../../etc/passwd", "\0|"]


@pytest.mark.parametrize("text", HOSTILE)
def test_prompts_are_text_and_nothing_else(lm, tmp_path, monkeypatch, text) -> None:
    monkeypatch.chdir(tmp_path)
    assert diffutron.generate(lm, [text], max_new_tokens=2, num_steps=1)[0].num_steps == 1
    assert list(tmp_path.iterdir()) == []


def test_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, diffutron; assert diffutron.__version__; "
        "print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        _ = diffutron.train


@pytest.mark.slow
def test_generating_needs_torch_and_transformers_alone(tiny_model_dir) -> None:
    absent = ["deepspeed", "mlflow", "prefect", "lm_eval", "datasets", "polars", "dvc", "peft"]
    absent.append("accelerate")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent})); import diffutron\n"
        f"lm = diffutron.load({str(tiny_model_dir)!r}, device='cpu')\n"
        "diffutron.generate(lm, ['Kedi'], max_new_tokens=2); diffutron.infill(lm, ['[MASK]'])\n"
        "diffutron.score(lm, [('a', 'b')]); diffutron.nelbo(lm, ['Kedi']); print('fine')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "fine", done.stderr[-2000:]
