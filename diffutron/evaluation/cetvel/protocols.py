"""The four ways to ask and score the seven tasks, and what each of them changes.

`corrected` is ours. `cetvel` is the published task text with a right pair encoding. `dllm` has, in
addition, the pair encoding of the public scorer: the context with its special tokens, and the
continuation as what is left of the whole, so that a tokenizer which appends an end token loses the
first token of a choice, scores an end token in its place and has another one before the choice.
`chat` asks a tuned model as it was tuned: the question in the chat format, and a choice as the
answer with what closes it. A task whose choices continue a sentence is no question: it stays text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from diffutron.modeling.encoding import EncodedPair, begin_ids, encode_pairs, move_space
from diffutron.modeling.tokenizer import encode_answers, encode_prompts


@dataclass(frozen=True)
class Protocol:
    """casing: of the first letter of XCOPA choices. unlabeled: rows of label -1 are asked.
    whole_minus_context: the public scorer's pair encoding. chat: the chat format."""

    name: str
    casing: Literal["turkish", "cetvel"]
    unlabeled: bool
    whole_minus_context: bool
    chat: bool = False


PROTOCOLS = {
    one.name: one
    for one in (
        Protocol("corrected", "turkish", unlabeled=False, whole_minus_context=False),
        Protocol("cetvel", "cetvel", unlabeled=True, whole_minus_context=False),
        Protocol("dllm", "cetvel", unlabeled=True, whole_minus_context=True),
        Protocol("chat", "turkish", unlabeled=False, whole_minus_context=False, chat=True),
    )
}


def encode(
    tokenizer: Any, pairs: Sequence[tuple[str, str]], protocol: Protocol
) -> list[EncodedPair]:
    """(context, continuation) strings to ids; the context holds the special tokens before it.

    Raises:
        ValueError: the protocol is `chat`, and the tokenizer has no template of a chat.
    """
    if protocol.chat:
        if not tokenizer.chat_template:
            raise ValueError("its tokenizer has no chat template, which protocol chat needs")
        contexts, choices = [context for context, _ in pairs], [choice for _, choice in pairs]
        prompts, answers = encode_prompts(tokenizer, contexts), encode_answers(tokenizer, choices)
        both = zip(prompts, answers, strict=True)
        return [EncodedPair(tuple(p), tuple(a), split_token=False) for p, a in both]
    moved = [move_space(*pair) for pair in pairs]
    if protocol.whole_minus_context:
        return _whole_minus_context(tokenizer, moved)
    begin = tuple(begin_ids(tokenizer))
    return [
        EncodedPair(begin + pair.context, pair.continuation, pair.split_token)
        for pair in encode_pairs(tokenizer, moved)
    ]


def _whole_minus_context(tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> list[EncodedPair]:
    if not pairs:
        return []
    wholes = tokenizer([context + choice for context, choice in pairs])["input_ids"]
    contexts = tokenizer([context for context, _ in pairs])["input_ids"]
    return [
        EncodedPair(tuple(context), tuple(whole[len(context) :]), split_token=False)
        for whole, context in zip(wholes, contexts, strict=True)
    ]
