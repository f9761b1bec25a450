"""Pairs cut by offsets: no token lost, none added, for tokenizers of several kinds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from diffutron.modeling.encoding import begin_ids, encode_pairs, encode_texts, end_ids, move_space

TEXTS = ["Bu cümlede ironi var mı?\n Hayır Evet", "Ankara Türkiye'nin başkentidir, İstanbul değil."]
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]


def byte_level(template: str | None, *, trim_offsets: bool) -> PreTrainedTokenizerFast:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        TEXTS * 3,
        trainers.BpeTrainer(
            vocab_size=340, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
        ),
    )
    made.post_processor = processors.ByteLevel(trim_offsets=trim_offsets)
    if template:
        ids = [("<bos>", 2), ("<eos>", 1)]
        ends = processors.TemplateProcessing(single=template, special_tokens=ids)
        made.post_processor = processors.Sequence([made.post_processor, ends])
    return _wrapped(made)


def unigram() -> PreTrainedTokenizerFast:
    """The kind of mmBERT and T5: a space is a mark in front of the word."""
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    made.decoder = decoders.Metaspace(prepend_scheme="never")
    made.train_from_iterator(
        TEXTS * 3,
        trainers.UnigramTrainer(
            vocab_size=120, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
        ),
    )
    made.post_processor = processors.TemplateProcessing(
        single="$A <eos>", special_tokens=[("<eos>", 1)]
    )
    return _wrapped(made)


def _wrapped(made: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
    )


TOKENIZERS = {
    "begin and end": (byte_level("<bos> $A <eos>", trim_offsets=True), [2], [1]),
    "end only": (byte_level("$A <eos>", trim_offsets=True), [], [1]),
    "none": (byte_level(None, trim_offsets=False), [], []),
    "unigram": (unigram(), [], [1]),
}


@pytest.fixture(params=TOKENIZERS)
def kind(request):
    return TOKENIZERS[request.param]


def test_begin_and_end_are_what_the_tokenizer_adds(kind):
    tokenizer, begin, end = kind
    assert begin_ids(tokenizer) == begin
    assert end_ids(tokenizer) == end


@pytest.mark.parametrize(
    ("context", "continuation"),
    [
        ("Bu cümlede ironi var mı?", " Hayır"),
        ("Bu cümlede ironi var mı?", "\n Evet"),
        ("Ankara", " Türkiye'nin başkentidir"),
    ],
)
def test_a_pair_has_the_tokens_of_the_running_text(kind, context, continuation):
    tokenizer = kind[0]
    (pair,) = encode_pairs(tokenizer, [(context, continuation)])
    assert [*pair.context, *pair.continuation] == encode_texts(tokenizer, [context + continuation])[
        0
    ]
    assert tokenizer.decode(pair.continuation).strip() == continuation.strip()
    assert not pair.split_token
    assert not {1, 2} & {*pair.context, *pair.continuation}, "no begin or end token anywhere"


@pytest.mark.parametrize(
    ("context", "continuation"), [("Ankara ", "Türkiye"), ("Tür", "kiye"), ("Bu  ", "cümlede")]
)
def test_a_token_across_the_border_splits_both_sides(context, continuation):
    tokenizer = TOKENIZERS["begin and end"][0]
    whole = tokenizer.tokenize(context + continuation)
    (pair,) = encode_pairs(tokenizer, [(context, continuation)])
    apart = encode_texts(tokenizer, [context, continuation])
    assert [list(pair.context), list(pair.continuation)] == apart
    joined = tokenizer.convert_ids_to_tokens([*pair.context, *pair.continuation])
    assert pair.split_token == (joined != whole)


@pytest.mark.parametrize("trimmed", [True, False])
def test_the_space_inside_a_token_counts_although_offsets_leave_it_out(trimmed):
    tokenizer = byte_level("<bos> $A <eos>", trim_offsets=trimmed)
    (pair,) = encode_pairs(tokenizer, [("Bu ", "cümlede")])
    assert pair.split_token
    assert tokenizer.decode(pair.context) == "Bu "
    assert tokenizer.decode(pair.continuation) == "cümlede"


def test_empty_sides(kind):
    tokenizer = kind[0]
    pairs = encode_pairs(tokenizer, [("", "Evet"), ("Evet", ""), ("", "")])
    ids = tuple(encode_texts(tokenizer, ["Evet"])[0])
    assert [(pair.context, pair.continuation) for pair in pairs] == [((), ids), (ids, ()), ((), ())]
    assert encode_pairs(tokenizer, []) == []
    assert encode_texts(tokenizer, []) == []


def test_names_of_special_tokens_are_text():
    tokenizer = TOKENIZERS["begin and end"][0]
    (pair,) = encode_pairs(tokenizer, [("<mask> Ankara", " <eos>")])
    ids = [*pair.context, *pair.continuation]
    assert not set(ids) & {1, 4}
    assert tokenizer.decode(ids) == "<mask> Ankara <eos>"
    assert encode_texts(tokenizer, ["<mask>"]) != [[4]]


def test_a_tokenizer_without_offsets_is_refused():
    with pytest.raises(ValueError, match="fast tokenizer"):
        encode_pairs(object(), [("a", "b")])


ALPHABET = st.text(alphabet="abçğıİiöşü ?.\n'", max_size=12)


@given(ALPHABET, ALPHABET)
def test_nothing_is_lost_or_added_whatever_the_border(context, continuation):
    """Decoding both sides gives the two strings back, split_token or not."""
    tokenizer = TOKENIZERS["begin and end"][0]
    (pair,) = encode_pairs(tokenizer, [(context, continuation)])
    assert tokenizer.decode(pair.context, clean_up_tokenization_spaces=False) == context
    assert tokenizer.decode(pair.continuation, clean_up_tokenization_spaces=False) == continuation


@given(ALPHABET, ALPHABET)
def test_moved_space_keeps_the_text(context, continuation):
    bare, rest = move_space(context, continuation)
    assert bare + rest == context + continuation
    assert bare == bare.rstrip()
