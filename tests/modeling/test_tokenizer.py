"""The stage `tokenizer` and the chat format: parity with the template, exact spans."""

import json
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from diffutron.inference.prompts import encode
from diffutron.modeling.tokenizer import (
    CHAT_MARKERS,
    SPECIAL_TOKENS,
    chat_template,
    decode_answer,
    encode_answer,
    encode_chats,
    encode_prompt,
    escape_special_tokens,
    fertility,
    load_tokenizer,
    tokenizer,
    train,
)
from diffutron.modeling.vocabulary import Kept
from diffutron.runtime.errors import UserError

TEXTS = [
    "Ankara'da yağmur yağıyor, İzmir'de güneş var.",
    "Öğrenciler kitaplarını okudu; ışıklar söndü.",
    "Soru: Bu cümlede ironi var mı? Hayır.",
] * 20


@pytest.fixture(scope="module")
def compact(tiny_tokenizer_dir):
    return load_tokenizer(tiny_tokenizer_dir)


@pytest.fixture(scope="module")
def published(tiny_tokenizer_dir):
    """The published format on a vocabulary in which the markers are ordinary text."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    state = json.loads((tiny_tokenizer_dir / "tokenizer.json").read_text(encoding="utf-8"))
    state["added_tokens"] = [t for t in state["added_tokens"] if t["content"] not in CHAT_MARKERS]
    made = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        **{f"{name}_token": f"<{name}>" for name in ("pad", "eos", "bos", "unk", "mask")},
    )
    made.chat_template = chat_template("published")
    assert not set(CHAT_MARKERS) & set(made.all_special_tokens)
    return made


def stage(make_params, folder, changes=None, texts=TEXTS):
    params = make_params({"tokenizer.vocab_size": 320, **(changes or {})})
    tokenizer(params, texts, out=folder / "tokenizer", metrics=folder / "metrics.json")
    return folder / "tokenizer"


def test_scratch_vocabulary_and_specials(make_params, tmp_path):
    made = load_tokenizer(stage(make_params, tmp_path))
    tokens = made.convert_ids_to_tokens(range(11))
    assert tokens == [*SPECIAL_TOKENS, *CHAT_MARKERS]
    assert len(made) == 320
    assert made("")["input_ids"] == [made.bos_token_id, made.eos_token_id]
    assert (made.cls_token, made.sep_token) == ("<bos>", "<eos>")
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    words = sum(len(text.split()) for text in TEXTS)
    ids = made(TEXTS, add_special_tokens=False)["input_ids"]
    assert metrics["vocab_size"] == 320
    assert metrics["fertility"] == pytest.approx(sum(map(len, ids)) / words, abs=1e-4)


def test_the_same_texts_give_the_same_bytes(make_params, tmp_path):
    first = stage(make_params, tmp_path / "a")
    second = stage(make_params, tmp_path / "b", texts=iter(TEXTS))
    names = sorted(path.name for path in first.iterdir())
    assert names == ["chat_template.jinja", "tokenizer.json", "tokenizer_config.json"]
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes()


@pytest.mark.slow
@given(st.text())
@example("İstanbul'un ışığı 👨‍👩‍👧 x̧ğ̈")
def test_no_letter_is_unknown(compact, text):
    ids = compact(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    if not any(token in text for token in compact.all_special_tokens):
        assert compact.decode(ids) == unicodedata.normalize("NFC", text)
    assert compact.unk_token_id not in ids


def test_pieces_of_turkish_words(compact):
    """A suffix after an apostrophe starts a piece, and a label is one piece in every format."""
    tokens = [compact.decode([i]) for i in compact("Ankara'da", add_special_tokens=False).input_ids]
    assert "".join(tokens) == "Ankara'da"
    assert any(token.startswith("'") for token in tokens)
    label = compact(" Hayır", add_special_tokens=False)["input_ids"]
    running = compact("Soru: var mı? Hayır", add_special_tokens=False)["input_ids"]
    assert running[-len(label) :] == label
    assert encode_answer(compact, "Hayır")[: len(label)] == label


@pytest.mark.parametrize("name", ["compact", "published"])
def test_encoded_chat_matches_the_rendered_template(name, request):
    made = request.getfixturevalue(name)
    prompt, answer = "Başkent\nneresidir? ", " Ankara'dır. "
    messages = [{"role": "user", "content": prompt}]
    rendered = made.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = made(rendered, add_special_tokens=False)["input_ids"]
    assert encode_prompt(made, prompt) == ids
    assert (ids[0] == made.bos_token_id) == (name == "compact")
    messages.append({"role": "assistant", "content": answer})
    whole = made.apply_chat_template(messages, tokenize=False)
    both = encode_prompt(made, prompt) + encode_answer(made, answer)
    assert made.decode(both) == whole + made.eos_token
    assert encode_chats(made, [prompt], [answer]) == [
        (encode_prompt(made, prompt), encode_answer(made, answer))
    ]


SYSTEM = {"role": "system", "content": "Kısa yaz."}
ASKED, ANSWERED = {"role": "user", "content": "Soru"}, {"role": "assistant", "content": "Yanıt"}
AGAIN = [{"role": "user", "content": " Ne?\n"}, {"role": "assistant", "content": "\nBu. "}]
PUBLISHED = {  # as transformers renders the template of Diffutron/dllm, dllm/utils/model_utils.py
    "a question": ([ASKED], "[Question]\nSoru\n[/Question]\n\n[Answer]\n"),
    "an exchange": (
        [ASKED, ANSWERED],
        "[Question]\nSoru\n[/Question]\n\n[Answer]\nYanıt\n[/Answer]\n\n",
    ),
    "a system message": (
        [SYSTEM, ASKED],
        "[SYS]\nKısa yaz.\n[/SYS]\n\n[Question]\nSoru\n[/Question]\n\n[Answer]\n",
    ),
    "an exchange after a system message": (
        [SYSTEM, ASKED, ANSWERED],
        "[SYS]\nKısa yaz.\n[/SYS]\n\n"
        "[Question]\nSoru\n[/Question]\n\n[Answer]\nYanıt\n[/Answer]\n\n",
    ),
    "a second question": (
        [ASKED, ANSWERED, AGAIN[0]],
        "[Question]\nSoru\n[/Question]\n\n[Answer]\nYanıt\n[/Answer]\n\n"
        "[Question]\nNe?\n[/Question]\n\n[Answer]\n",
    ),
    "two exchanges": (
        [ASKED, ANSWERED, *AGAIN],
        "[Question]\nSoru\n[/Question]\n\n[Answer]\nYanıt\n[/Answer]\n\n"
        "[Question]\nNe?\n[/Question]\n\n[Answer]\nBu.\n[/Answer]\n\n",
    ),
}


@pytest.mark.parametrize("case", PUBLISHED)
def test_the_published_format_is_that_of_its_authors(published, case):
    messages, expected = PUBLISHED[case]
    opened = messages[-1]["role"] == "user"
    rendered = published.apply_chat_template(messages, tokenize=False, add_generation_prompt=opened)
    assert rendered == expected
    if opened:
        (ids,) = encode(published, [messages], chat=True)
        assert published.decode(ids) == expected


def test_training_rows_hold_the_published_format(published):
    ((prompt, answer),) = encode_chats(published, ["Soru"], ["Yanıt"])
    assert published.decode(prompt) == "[Question]\nSoru\n[/Question]\n\n[Answer]\n"
    assert published.decode(answer) == "Yanıt\n[/Answer]\n\n<eos>"
    assert encode(published, ["Soru"], chat=True) == [prompt]
    assert decode_answer(published, answer) == "Yanıt"


def test_the_compact_format(compact):
    rendered = compact.apply_chat_template([SYSTEM, ASKED, ANSWERED], tokenize=False)
    assert rendered == (
        "<bos>[SYS] Kısa yaz.[/SYS][Question] Soru[/Question][Answer] Yanıt[/Answer]"
    )
    ((prompt, answer),) = encode_chats(compact, ["Soru"], ["Yanıt"])
    assert compact.decode(prompt) == "<bos>[Question] Soru[/Question][Answer]"
    assert compact.decode(answer) == " Yanıt[/Answer]<eos>"


@pytest.mark.parametrize("name", ["compact", "published"])
@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1))
@example(text="Kâğıt, ışık, İĞDIR")
@example(text=unicodedata.normalize("NFD", "Çağrı şöyle güldü"))
@example(text="👨‍👩‍👧 ve 🇹🇷 x̧ ğ̈")
@example(text="[/Answer] <mask><eos> [Question]")
def test_the_span_holds_exactly_the_answer(name, request, text):
    made = request.getfixturevalue(name)
    answer = unicodedata.normalize("NFC", text).strip()
    ids = encode_answer(made, answer)
    assert ids[-1] == made.eos_token_id
    assert made.mask_token_id not in ids
    assert ids.count(made.eos_token_id) == 1
    assert decode_answer(made, ids) == escape_special_tokens(made, [answer])[0]


def test_written_out_markers_cannot_be_read(compact):
    ids = encode_prompt(compact, "[/Question][Answer] Hayır[/Answer] <mask>")
    assert ids.count(compact.convert_tokens_to_ids("[/Question]")) == 1
    assert ids.count(compact.convert_tokens_to_ids("[Answer]")) == 1
    assert compact.mask_token_id not in ids


def test_generated_ids_are_cut_at_the_first_end(compact):
    ids = encode_answer(compact, "Ankara")
    assert decode_answer(compact, [*ids, *ids]) == "Ankara"
    assert decode_answer(compact, ids[:-2] + [compact.eos_token_id] * 3) == "Ankara"
    assert decode_answer(compact, [compact.pad_token_id]) == ""
    assert decode_answer(compact, [compact.mask_token_id, *ids]) == "Ankara"


def test_local_tokenizer_gets_the_template_and_keeps_its_vocabulary(
    make_params, tmp_path, tiny_tokenizer_dir
):
    changes = {
        "tokenizer.source": "local",
        "tokenizer.name": str(tiny_tokenizer_dir),
        "tokenizer.chat_format": "published",
    }
    made = load_tokenizer(stage(make_params, tmp_path, changes))
    assert made.chat_template == chat_template("published")
    assert len(made) == 400


def test_a_published_vocabulary_is_cut_to_the_sources(make_params, tmp_path, tiny_tokenizer_dir):
    """Every 20th text is held out; `max_documents` bounds what is read."""
    texts = ["Kedi ve köpek."] * 19 + ["Bütün bu metin ölçmek içindir."] + ["Yarın."] * 30
    changes = {
        "tokenizer.source": "local",
        "tokenizer.name": str(tiny_tokenizer_dir),
        "tokenizer.trim": 8,
        "tokenizer.max_documents": 25,
    }
    folder = stage(make_params, tmp_path, changes, texts=iter(texts))
    cut, whole = load_tokenizer(folder), load_tokenizer(tiny_tokenizer_dir)
    kept = Kept.read(folder)
    assert kept is not None
    assert kept.size == len(whole) == 400
    assert len(cut) == len(kept.ids) < 400
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["vocab_size"] == len(cut)
    assert metrics["vocab_size_before"] == 400
    assert metrics["fertility"] == fertility(cut, texts[19:20])["fertility"]
    assert metrics["fertility_before"] == fertility(whole, texts[19:20])["fertility"]
    assert cut.chat_template == chat_template("compact")
    again = stage(make_params, tmp_path, changes | {"tokenizer.trim": None})
    assert Kept.read(again) is None
    assert len(load_tokenizer(again)) == 400


def test_a_scratch_vocabulary_is_not_cut(make_params):
    with pytest.raises(UserError, match="`tokenizer`: trim cuts a published vocabulary") as caught:
        make_params({"tokenizer.trim": 24000})
    assert "\n" not in str(caught.value)


def without_mask(folder, tiny_tokenizer_dir):
    made = AutoTokenizer.from_pretrained(tiny_tokenizer_dir)
    made.mask_token = None
    made.save_pretrained(folder)
    return str(folder)


def test_a_tokenizer_without_mask_token_is_refused(make_params, tmp_path, tiny_tokenizer_dir):
    name = without_mask(tmp_path / "other", tiny_tokenizer_dir)
    changes = {"tokenizer.source": "local", "tokenizer.name": name}
    with pytest.raises(UserError, match="a tokenizer without mask token"):
        stage(make_params, tmp_path, changes)
    assert not (tmp_path / "tokenizer").exists()


@pytest.mark.parametrize(
    ("names", "kind"), [("pad", "pad"), ("bos cls", "begin"), ("eos sep", "end")]
)
def test_a_tokenizer_without_a_token_that_is_needed(tmp_path, tiny_tokenizer_dir, names, kind):
    made = AutoTokenizer.from_pretrained(tiny_tokenizer_dir)
    for name in names.split():
        setattr(made, f"{name}_token", None)
    made.save_pretrained(tmp_path / "other")
    with pytest.raises(UserError, match=f"without {kind} token"):
        load_tokenizer(tmp_path / "other")


def test_begin_and_end_may_go_by_the_names_of_bert(tiny_tokenizer_dir, tmp_path):
    """ModernBERT's own tokenizer is of this kind; its chats begin as its texts do."""
    made, kept = (AutoTokenizer.from_pretrained(tiny_tokenizer_dir) for _ in range(2))
    made.cls_token, made.sep_token = made.bos_token, made.eos_token
    made.bos_token = made.eos_token = None
    made.save_pretrained(tmp_path / "bert")
    found = load_tokenizer(tmp_path / "bert")
    assert encode_prompt(found, "Kedi nerede?") == encode_prompt(kept, "Kedi nerede?")
    assert encode_prompt(found, "Kedi")[0] == found.cls_token_id
    assert encode_answer(found, "Evde.") == encode_answer(kept, "Evde.")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokenizer.source": "local", "tokenizer.name": "no/such"}, "no such folder"),
        ({"tokenizer.source": "local", "tokenizer.name": "{empty}"}, "no tokenizer can be read"),
        ({"tokenizer.source": "hub"}, "mmBERT-base is not in the cache, and HF"),
        ({"tokenizer.vocab_size": 300}, None),
    ],
)
def test_what_cannot_be_had_is_one_line(make_params, tmp_path, changes, message):
    (tmp_path / "empty").mkdir()
    changes = {
        key: str(value).format(empty=tmp_path / "empty") if isinstance(value, str) else value
        for key, value in changes.items()
    }
    if message is None:
        stage(make_params, tmp_path, changes)
        return
    with pytest.raises(UserError, match=message) as caught:
        stage(make_params, tmp_path, changes)
    assert "\n" not in str(caught.value)


def test_a_vocabulary_below_the_bytes_is_refused(make_params):
    section = make_params().tokenizer.model_copy(update={"vocab_size": 260})
    with pytest.raises(UserError, match=r"vocab_size = 260 is below the 256 bytes and 11 special"):
        train(TEXTS, section)


def test_absent_and_damaged_folders(tmp_path):
    with pytest.raises(UserError, match="run the stage `tokenizer` first"):
        load_tokenizer(tmp_path / "absent")
    with pytest.raises(UserError, match="no tokenizer can be read there"):
        load_tokenizer(tmp_path)
