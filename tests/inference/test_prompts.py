"""Only text is text: what else is given in its place is refused, never printed into a prompt."""

import pytest

from diffutron import api
from diffutron.inference.prompts import check_texts, encode
from diffutron.modeling.tokenizer import load_tokenizer

NO_TEXTS = [None, 5, 2.5, True, b"abc", bytearray(b"abc"), {"a": "b"}, {"metin"}, object(), ["a"]]
HALF = "Ser\ud83de"


@pytest.fixture(scope="module")
def tokenizer(tiny_tokenizer_dir):
    return load_tokenizer(tiny_tokenizer_dir)


@pytest.mark.parametrize("value", [*NO_TEXTS, HALF])
def test_the_content_of_a_message_is_a_text(tokenizer, value):
    chat = [{"role": "user", "content": "Merhaba"}, {"role": "assistant", "content": value}]
    with pytest.raises(ValueError, match="prompts: number 0, the content of a message"):
        encode(tokenizer, [chat], chat=True)


@pytest.mark.parametrize("value", [one for one in NO_TEXTS if one != ["a"]] + [HALF, [True, False]])
@pytest.mark.parametrize("chat", [True, False])
def test_a_prompt_is_text_ids_or_messages(tokenizer, value, chat):
    with pytest.raises(ValueError, match="prompts: number 1"):
        encode(tokenizer, ["Merhaba", value], chat=chat)


@pytest.mark.parametrize("value", [*NO_TEXTS, HALF])
def test_texts_and_pairs_are_texts(value):
    """The check comes before the model is touched, so none is needed."""
    with pytest.raises(ValueError, match="texts: number 1"):
        check_texts("texts", ["Merhaba", value])
    for call in (api.infill, api.nelbo):
        with pytest.raises(ValueError, match="texts: number 1"):
            call(None, ["Merhaba", value])
    for pair in (("Merhaba", value), (value, "Merhaba"), value):
        with pytest.raises(ValueError, match="pairs: number 1"):
            api.score(None, [("a", "b"), pair])


@pytest.mark.parametrize("values", [None, 5, "Merhaba", b"abc", {"a": "b"}])
def test_one_text_is_no_list_of_texts(values):
    for call, name in ((api.infill, "texts"), (api.nelbo, "texts"), (api.score, "pairs")):
        with pytest.raises(ValueError, match=f"{name}: need a list"):
            call(None, values)
    with pytest.raises(ValueError, match="prompts: need a list"):
        api.generate(None, values)
