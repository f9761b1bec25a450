"""A vocabulary cut to the tokens in use: it spells every text, and kept tokens mean the same."""

import json
from collections import Counter
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from diffutron.modeling.encoder import count_parameters, read_model, read_special_ids
from diffutron.modeling.head import head_logits, run_encoder
from diffutron.modeling.tokenizer import chat_template, encode_prompt, save_tokenizer, trim
from diffutron.modeling.vocabulary import (
    MULTIPLE,
    Kept,
    count_tokens,
    cut_vocabulary,
    keep_rows,
    merged_from,
    vocabulary_digest,
)
from diffutron.runtime.errors import UserError
from diffutron.sample import documents

TURKISH = [
    "Ankara'da yağmur yağıyor, İzmir'de güneş var.",
    "Öğrenciler kitaplarını okudu; ışıklar söndü.",
    "Kedi bahçede uyuyor, köpek evde bekliyor.",
    "Yarın sabah erkenden yola çıkacağız.",
]
FOREIGN = [
    "The quick brown fox jumps over the lazy dog, while nobody is watching them.",
    "Быстрая коричневая лиса прыгает через ленивую собаку.",
    "素早い茶色の狐がのろまな犬を飛び越える。",
    "Ο γρήγορος σκύλος τρέχει στο δάσος.",
]
TEXTS = [*(row["text"] for row in islice(documents(), 200)), *(TURKISH + FOREIGN) * 5]
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
LETTERS = st.characters(exclude_categories=["Cs"])
TURKISH_WORDS = st.sampled_from(
    sorted({word for text in TURKISH + FOREIGN for word in text.split()})
)
ANY_TEXT = st.one_of(
    st.text(LETTERS), st.lists(st.one_of(TURKISH_WORDS, st.text(LETTERS))).map(" ".join)
)


def finished(model: Tokenizer, trained: dict[str, Any]) -> Any:
    """The trained tokenizer as a published one, with end tokens, and chat markers as plain text."""
    model.train_from_iterator(TEXTS, BpeTrainer(show_progress=False, **trained))
    ids = {name: model.token_to_id(f"<{name}>") for name in ("bos", "eos")}
    model.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[(f"<{name}>", ids[name]) for name in ids]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=model,
        **{f"{token[1:-1]}_token": token for token in SPECIAL},
        clean_up_tokenization_spaces=False,
    )


def byte_level() -> Any:
    """As ModernBERT's: letters are bytes."""
    model = Tokenizer(models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    return finished(
        model, {"vocab_size": 900, "special_tokens": SPECIAL, "initial_alphabet": alphabet}
    )


def byte_fallback() -> Any:
    """As mmBERT's: letters are letters, a rare one is spelled by bytes, a text is one word; one
    byte lacks its token, and a tag is an added token in the middle of the vocabulary.
    """
    model = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    model.normalizer = normalizers.Replace(" ", "▁")
    model.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    every = [f"<0x{byte:02X}>" for byte in range(256) if byte != 9]
    made = finished(
        model,
        {
            "vocab_size": 900,
            "special_tokens": [*SPECIAL, "<h1>", *every],
            "initial_alphabet": ["\t"],
        },
    )
    state = json.loads(made.backend_tokenizer.to_str())
    state["added_tokens"] = [one for one in state["added_tokens"] if one["content"] not in every]
    made._tokenizer = Tokenizer.from_str(json.dumps(state))
    return made


def letters_alone() -> Any:
    """No bytes: a letter without token is unknown, before and after."""
    model = Tokenizer(models.BPE(unk_token="<unk>"))
    model.pre_tokenizer = pre_tokenizers.Metaspace()
    model.decoder = decoders.Metaspace()
    return finished(model, {"vocab_size": 500, "special_tokens": SPECIAL})


KINDS = {"byte_level": byte_level, "byte_fallback": byte_fallback, "letters": letters_alone}


@pytest.fixture(scope="module", params=KINDS)
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def whole(kind) -> Any:
    return KINDS[kind]()


@pytest.fixture(scope="module")
def pair(whole) -> tuple[Any, Any, Kept]:
    """The whole tokenizer, the one cut to the words of Turkish texts, and what it has kept."""
    counts = count_tokens(whole, TURKISH)
    return whole, *cut_vocabulary(whole, counts, 40, always=[], setting="test")


def ids_of(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]


@settings(deadline=None)
@given(text=ANY_TEXT)
@example(text="İstanbul'un ışığı 👨‍👩‍👧 x̧ğ̈ \t\x00 素早い ▁ _")
@example(text="".join(map(chr, range(1, 1500))))
@example(text="<h1> <0x41> <mask>")
def test_every_text_decodes_as_before(pair, text):
    whole, cut, _ = pair
    before, after = ids_of(whole, text), ids_of(cut, text)
    assert cut.decode(after) == whole.decode(before)
    assert after.count(cut.unk_token_id) == before.count(whole.unk_token_id)


@settings(deadline=None)
@given(text=ANY_TEXT)
@example(text=" ".join(TURKISH))
def test_a_text_of_kept_tokens_has_the_same_tokens(pair, text):
    whole, cut, kept = pair
    before = ids_of(whole, text)
    if {*before} <= {*kept.ids}:
        assert [kept.ids[one] for one in ids_of(cut, text)] == before
    for word in text.split():  # a text of many words holds a rare letter more often
        before = ids_of(whole, word)
        if {*before} <= {*kept.ids}:
            assert [kept.ids[one] for one in ids_of(cut, word)] == before


def test_the_texts_that_were_counted_cost_more_only_where_tokens_are_gone(pair):
    whole, cut, kept = pair
    gone = [text for text in TURKISH if not {*ids_of(whole, text)} <= {*kept.ids}]
    assert gone  # 40 tokens are not enough for all of them
    for text in TURKISH:
        same = len(ids_of(cut, text)) == len(ids_of(whole, text))
        assert same == (text not in gone)


def test_what_is_kept(pair, kind):
    whole, cut, kept = pair
    counts = count_tokens(whole, TURKISH)
    frequent = sorted(counts, key=lambda one: (-counts[one], one))
    assert {*frequent[:40]} <= {*kept.ids}
    assert kept.ids == sorted(kept.ids)
    assert kept.size == len(whole)
    assert len(cut) == len(kept.ids) < len(whole)
    assert cut.get_vocab() == {
        whole.convert_ids_to_tokens(old): new for new, old in enumerate(kept.ids)
    }
    for name in (*SPECIAL, *(["<h1>", "<0x41>", "\t"] if kind == "byte_fallback" else [])):
        assert cut.convert_tokens_to_ids(name) == kept.ids.index(whole.convert_tokens_to_ids(name))
    assert cut.all_special_tokens == whole.all_special_tokens
    assert [kept.ids[one] for one in cut("Kedi")["input_ids"]][::99] == [whole.bos_token_id]
    if kind == "byte_level":
        assert {*pre_tokenizers.ByteLevel.alphabet()} <= cut.get_vocab().keys()
    if kind == "letters":
        assert {one for one in whole.get_vocab() if len(one) == 1} <= cut.get_vocab().keys()
    if kind == "byte_fallback":
        assert "▁" in cut.get_vocab()
        assert "狐" not in cut.get_vocab()


def test_each_kept_token_can_be_made(pair):
    """Its merges are there: a kept token that the whole one makes of its letters, the cut one
    makes as well."""
    whole, cut, kept = pair
    large, small = whole.backend_tokenizer.model, cut.backend_tokenizer.model
    made = 0
    for new, old in enumerate(kept.ids):
        token = whole.convert_ids_to_tokens(old)
        if [one.id for one in large.tokenize(token)] == [old]:
            made += 1
            assert [one.id for one in small.tokenize(token)] == [new]
    assert made > 60


def test_the_entries_are_a_multiple_where_tokens_are_left(whole):
    counts = count_tokens(whole, TEXTS)
    cut, kept = cut_vocabulary(whole, counts, 60, always=[], setting="test")
    assert len(kept.ids) % MULTIPLE == 0
    few, _ = cut_vocabulary(
        whole, Counter(dict(counts.most_common(60))), 60, always=[], setting="x"
    )
    assert 0 <= len(cut) - len(few) < MULTIPLE


def test_merges_follow_their_order():
    merges = {("a", "b"): 1, ("b", "c"): 0, ("a", "bc"): 2, ("x", "y"): 3}
    assert merged_from("abc", merges) == {"a", "b", "c", "bc", "abc"}
    assert merged_from("abab", merges) == {"a", "b", "ab"}


def test_other_post_processors_get_the_new_ids():
    whole = byte_level()
    ends = ("<eos>", whole.eos_token_id), ("<bos>", whole.bos_token_id)
    for made in (
        processors.RobertaProcessing(*ends),
        processors.BertProcessing(*ends),
        processors.Sequence(
            [processors.ByteLevel(trim_offsets=False), processors.BertProcessing(*ends)]
        ),
    ):
        whole.backend_tokenizer.post_processor = made
        whole.add_special_tokens({"cls_token": "<far>"})  # behind the vocabulary of the model
        cut, kept = cut_vocabulary(whole, count_tokens(whole, TURKISH), 30, always=[], setting="x")
        assert cut.cls_token_id == len(cut) - 1
        ids = cut("K")["input_ids"]
        assert (ids[0], ids[-1]) == (cut.bos_token_id, cut.eos_token_id)
        assert [kept.ids[one] for one in ids] == whole("K")["input_ids"]


def test_the_chat_costs_no_more(whole):
    """Tokens of the chat format are kept, though no text holds them."""
    found = trim(whole, TURKISH * 5, 30, setting="test")
    assert (found.num_texts, found.num_heldout) == (20, 1)
    assert found.before["vocab_size"] == len(whole) > found.after["vocab_size"]
    assert found.after["fertility"] >= found.before["fertility"] > 1
    for one in (whole, found.tokenizer):
        one.chat_template = chat_template("published")
    ids = encode_prompt(found.tokenizer, ".")
    assert [found.kept.ids[one] for one in ids] == encode_prompt(whole, ".")


def test_what_was_kept_is_read_again(pair, tmp_path):
    whole, cut, kept = pair
    assert Kept.read(tmp_path) is None
    save_tokenizer(cut, tmp_path)
    kept.write(tmp_path)
    assert Kept.read(tmp_path) == kept
    assert kept.digest == vocabulary_digest(whole) != vocabulary_digest(cut)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.get_vocab() == cut.get_vocab()
    assert again(TEXTS)["input_ids"] == cut(TEXTS)["input_ids"]


def word_piece() -> Any:
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, "a", "##a"])}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordPiece(vocabulary, unk_token="<unk>")),
        mask_token="<mask>", unk_token="<unk>",
    )  # fmt: skip


def unigram() -> Any:
    entries = [(token, -1.0) for token in [*SPECIAL, "a"]]
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.Unigram(entries, unk_id=3)))


def marked() -> Any:
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, "a", "a</w>"])}
    model = models.BPE(vocabulary, [], end_of_word_suffix="</w>", unk_token="<unk>")
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model), unk_token="<unk>")


@pytest.mark.parametrize(
    ("made", "size", "texts", "said"),
    [
        (word_piece, 2, TEXTS, "this vocabulary is WordPiece"),
        (unigram, 2, TEXTS, "this vocabulary is Unigram"),
        (marked, 2, TEXTS, "this vocabulary is one that marks the parts of words"),
        (byte_level, 900, TEXTS, "the vocabulary has [0-9]+ entries; ask for fewer"),
        (byte_level, 30, TEXTS[:19], "fewer than 20 texts"),
    ],
)
def test_what_cannot_be_cut_is_one_line(made, size, texts, said):
    with pytest.raises(UserError, match=rf"^--size: .*{said}") as caught:
        trim(made(), texts, size, setting="--size")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("tied", [True, False])
def test_kept_tokens_have_equal_hidden_states_and_logits(pair, tied, tmp_path):
    from transformers import ModernBertConfig, ModernBertForMaskedLM

    whole, cut, kept = pair
    names = ("pad", "bos", "eos")
    torch.manual_seed(0)
    config = ModernBertConfig(
        vocab_size=len(whole) + 5,  # rows of no token, as published models have
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        initializer_range=0.3, tie_word_embeddings=tied,
        **{f"{name}_token_id": getattr(whole, f"{name}_token_id") for name in names},
        cls_token_id=whole.bos_token_id, sep_token_id=whole.eos_token_id,
    )  # fmt: skip
    large = ModernBertForMaskedLM(config).eval()
    torch.nn.init.normal_(large.decoder.bias)
    large.save_pretrained(tmp_path / "large")
    small: Any = read_model(tmp_path / "large")
    keep_rows(small, kept)
    small.save_pretrained(tmp_path / "small")
    save_tokenizer(cut, tmp_path / "small")
    small = read_model(tmp_path / "small").eval()

    new = torch.from_numpy(np.random.default_rng(0).integers(0, len(cut), (3, 40)))
    old = torch.tensor(kept.ids)[new]
    with torch.no_grad():
        hidden = run_encoder(small, new), run_encoder(large, old)
        assert torch.equal(*hidden)
        logits = [
            head_logits(model, one[0], mask_token_id=tokenizer.mask_token_id)
            for model, one, tokenizer in zip((small, large), hidden, (cut, whole), strict=True)
        ]
        torch.testing.assert_close(logits[0], logits[1][:, kept.ids], atol=1e-6, rtol=1e-6)
    special = read_special_ids(tmp_path / "small")
    assert small.config.vocab_size == special.vocab_size == len(kept.ids)
    assert small.config.pad_token_id == small.model.embeddings.tok_embeddings.padding_idx
    found = {name: getattr(small.config, f"{name}_token_id") for name in (*names, "cls", "sep")}
    assert found == {
        "pad": special.pad, "bos": special.bos, "eos": special.eos,
        "cls": special.bos, "sep": special.eos,
    }  # fmt: skip
    gone = len(whole) + 5 - len(kept.ids)
    per_row = 32 * (1 if tied else 2) + 1
    parameters = [int(count_parameters(one)["parameters"]) for one in (large, small)]
    assert parameters[0] - parameters[1] == gone * per_row
    assert (small.decoder.weight is small.model.embeddings.tok_embeddings.weight) == tied
