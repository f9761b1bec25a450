"""Prompts to token ids, texts with masks to token ids, and generated ids back to text."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from diffutron.modeling.encoding import begin_ids, encode_texts
from diffutron.modeling.tokenizer import (
    END_OF_ANSWER,
    decode_answer,
    encode_chats,
    escape_special_tokens,
    load_tokenizer,
)
from diffutron.runtime.json_lines import is_unicode

Prompt = str | Sequence[Mapping[str, str]] | Sequence[int]
MASK = "[MASK]"
ROLES = ("system", "user", "assistant")


def encode(tokenizer: Any, prompts: Sequence[Prompt], *, chat: bool) -> list[list[int]]:
    """The ids that an answer follows: the prompt in the chat format if `chat`, else the begin token
    and the prompt; no end.

    Ids are taken as they are. Raises ValueError for an empty prompt and for messages that the
    chat format lacks.
    """
    return [
        _encode_one(tokenizer, prompt, number=number, chat=chat and bool(tokenizer.chat_template))
        for number, prompt in enumerate(prompts)
    ]


def check_texts(name: str, values: Any) -> None:
    """ValueError where `values` is no list, or one of them is no text that can be encoded.

    Only a text is text: None, numbers and bytes are not printed into one.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Sequence):
        raise ValueError(f"{name}: need a list of texts, not {_told(values)}")
    for number, value in enumerate(values):
        check_text(f"{name}: number {number}", value)


def check_text(what: str, value: Any) -> None:
    """ValueError where `value` is no text or holds half of a surrogate pair."""
    if not isinstance(value, str):
        raise ValueError(f"{what} must be a text, not {_told(value)}")
    if not is_unicode(value):
        raise ValueError(f"{what} is no Unicode text (half of a surrogate pair)")


def _told(value: Any) -> str:
    return "one string" if isinstance(value, str) else f"{type(value).__name__} {value!r}"[:80]


def _encode_one(tokenizer: Any, prompt: Prompt, *, number: int, chat: bool) -> list[int]:
    if isinstance(prompt, bytes | bytearray) or not isinstance(prompt, Sequence):
        raise ValueError(
            f"prompts: number {number} is {_told(prompt)}; need text, token ids or messages"
        )
    if not prompt or (isinstance(prompt, str) and not prompt.strip()):
        raise ValueError(f"prompts: number {number} is empty")
    if isinstance(prompt, str):
        check_text(f"prompts: number {number}", prompt)
        if not chat:
            return [*begin_ids(tokenizer), *encode_texts(tokenizer, [prompt])[0]]
        prompt = [{"role": "user", "content": prompt}]
    if all(isinstance(part, int) and not isinstance(part, bool) for part in prompt):
        return [int(part) for part in prompt]  # type: ignore[call-overload]
    messages: list[dict[str, str]] = []
    for part in prompt:
        if not isinstance(part, Mapping) or part.get("role") not in ROLES or "content" not in part:
            raise ValueError(
                f"prompts: number {number} holds {part!r}; need text, token ids, or messages "
                f"with a role ({', '.join(ROLES)}) and a content"
            )
        check_text(f"prompts: number {number}, the content of a message", part["content"])
        content = escape_special_tokens(tokenizer, [part["content"]])[0]
        messages.append({"role": part["role"], "content": content})
    if not chat:
        raise ValueError(
            f"prompts: number {number} is a chat, but chat=False or there is no chat template"
        )
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def chat_encoder(folder: Path) -> Callable[..., list[tuple[list[int], list[int]]]]:
    """The `encode(prompts, answers)` of a tokenizer folder: the ids of each prompt and answer.

    A prompt is a text, or the messages of a conversation.
    """
    tokenizer = load_tokenizer(folder)

    def ids(prompts: Sequence[Any], answers: Sequence[str]) -> list[tuple[list[int], list[int]]]:
        chats = [number for number, prompt in enumerate(prompts) if not isinstance(prompt, str)]
        texts = [prompt if isinstance(prompt, str) else "" for prompt in prompts]
        pairs = encode_chats(tokenizer, texts, answers)
        asked = encode(tokenizer, [prompts[number] for number in chats], chat=True)
        for number, prompt in zip(chats, asked, strict=True):
            pairs[number] = (prompt, pairs[number][1])
        return pairs

    return ids


def encode_masked(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Ids of texts in which `[MASK]` or the tokenizer's mask token is one token to fill.

    A mask takes the place of the space before it too, as the token that comes there will bring
    its own.
    """
    found: list[list[int]] = []
    for text in texts:
        parts = re.split(f" ?(?:{re.escape(MASK)}|{re.escape(tokenizer.mask_token)})", text)
        ids: list[int] = []
        for place, part in enumerate(encode_texts(tokenizer, parts)):
            ids += [tokenizer.mask_token_id] if place else []
            ids += part
        found.append(ids)
    return found


def end_token_ids(tokenizer: Any, *, chat: bool) -> list[int]:
    """Tokens that end an answer.

    End, padding and, in a chat, the closing marker if it is one token.
    """
    ends = {tokenizer.eos_token_id, tokenizer.pad_token_id} - {None}
    marker = tokenizer.convert_tokens_to_ids(END_OF_ANSWER)
    if chat and marker is not None and marker != tokenizer.unk_token_id:
        ends.add(marker)
    return sorted(ends)


def end_finder(tokenizer: Any) -> Callable[[list[int]], int | None]:
    """For a closing marker of several tokens: how many generated ids end with it, or None so far.

    It reads generated text only, so a marker in the prompt ends nothing.
    """

    def find(ids: list[int]) -> int | None:
        if END_OF_ANSWER not in tokenizer.decode(ids):
            return None
        return next(n for n in range(1, len(ids) + 1) if END_OF_ANSWER in tokenizer.decode(ids[:n]))

    return find


def answer_text(tokenizer: Any, ids: Sequence[int], *, chat: bool) -> str:
    """Generated ids as text: the bare answer in a chat, else the continuation with its spaces."""
    if chat:
        return decode_answer(tokenizer, ids)
    return tokenizer.decode(ids, skip_special_tokens=True)
