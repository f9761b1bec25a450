"""Strings to the token ids that likelihoods are computed on: begin token, context, continuation.

A pair is encoded once, as one string, and cut by character offsets, so that a continuation has the
tokens it has in running text and no token is lost. Nothing stands after the continuation and no
end token stands before it, whatever the tokenizer adds to a text of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from diffutron.runtime.json_lines import require_unicode


@dataclass(frozen=True, slots=True)
class EncodedPair:
    """Ids without begin or end tokens.

    split_token: a token crossed the border, so the two strings were encoded apart. ending: what a
    model that reads in both directions sees behind the continuation; it is not scored.
    """

    context: tuple[int, ...]
    continuation: tuple[int, ...]
    split_token: bool
    ending: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.context) + len(self.continuation) + len(self.ending)


def begin_ids(tokenizer: Any) -> list[int]:
    """The special tokens that the tokenizer puts before a text."""
    return _added(tokenizer)[0]


def end_ids(tokenizer: Any) -> list[int]:
    """The special tokens that the tokenizer puts after a text."""
    return _added(tokenizer)[1]


def _added(tokenizer: Any) -> tuple[list[int], list[int]]:
    encoded = tokenizer("a", return_special_tokens_mask=True)
    ids, added = encoded["input_ids"], encoded["special_tokens_mask"]
    first = added.index(0)
    last = len(added) - added[::-1].index(0)
    return list(ids[:first]), list(ids[last:])


def encode_texts(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Ids of texts as plain text: no special tokens added, and none read from the text itself."""
    if not texts:
        return []
    require_unicode(texts)
    return tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)["input_ids"]


def encode_pairs(tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> list[EncodedPair]:
    """Encode (context, continuation) strings as they are, cut by character offsets.

    A name of a special token in a text is plain text. Raises ValueError for a tokenizer without
    offsets (a `slow` one).
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError("tokenizer: needs a fast tokenizer, which knows character offsets")
    if not pairs:
        return []
    require_unicode([context + continuation for context, continuation in pairs])
    encoded = tokenizer(
        [context + continuation for context, continuation in pairs],
        add_special_tokens=False,
        split_special_tokens=True,
        return_offsets_mapping=True,
    )
    contexts = list(dict.fromkeys(context for context, _ in pairs))
    alone = dict(zip(contexts, encode_texts(tokenizer, contexts), strict=True))
    found = [
        _cut(alone[context], len(context), ids, offsets)
        for (context, _), ids, offsets in zip(
            pairs, encoded["input_ids"], encoded["offset_mapping"], strict=True
        )
    ]
    apart = [number for number, pair in enumerate(found) if pair is None]
    rest = encode_texts(tokenizer, [pairs[number][1] for number in apart])
    for number, ids in zip(apart, rest, strict=True):
        context = alone[pairs[number][0]]
        found[number] = EncodedPair(tuple(context), tuple(ids), split_token=True)
    return [pair for pair in found if pair is not None]


def _cut(
    context: Sequence[int], border: int, ids: Sequence[int], offsets: Sequence[tuple[int, int]]
) -> EncodedPair | None:
    """The ids before and from the character `border`, or None where a token lies on both sides.

    `context`: the ids of the characters before it alone; where the whole begins with them, the cut
    is there. Tokenizers may leave spaces out of a token's offsets, so a token also holds the
    characters since the end of the one before, and one without width tells nothing.
    """
    first = len(context)
    if list(ids[:first]) != list(context):
        first = next((n for n, (_, end) in enumerate(offsets) if end > border), len(ids))
        if any(start == end for start, end in offsets[max(0, first - 1) : first + 1]):
            return None
        held_from = offsets[first - 1][1] if first else 0
        if first < len(ids) and min(offsets[first][0], held_from) < border:
            return None
    return EncodedPair(tuple(ids[:first]), tuple(ids[first:]), split_token=False)


def on_one_canvas(
    pairs: Sequence[EncodedPair], closing: Sequence[int], *, mask_token_id: int
) -> list[EncodedPair]:
    """The choices of a question, each ending in `closing`, on a canvas of one length.

    Otherwise the number of masks would tell which choice is meant. A choice is scored up to the
    first token that closes it, and what lies behind stays masked: no other choice begins so. Where
    all choices close at the same place, that is no news, so the closing is given and they are
    scored without it: log p(choice, closing) = log p(closing) + log p(choice | closing), and the
    first term is that of all.
    """
    closed = min(_common_end(pair.continuation, closing) for pair in pairs)
    lengths = [len(pair.continuation) for pair in pairs]
    found = []
    for pair in pairs:
        if min(lengths) == max(lengths):
            scored = max(lengths) - closed
            ending = pair.continuation[scored:]
        else:
            scored = len(pair.continuation) - max(0, closed - 1)
            ending = (mask_token_id,) * (max(lengths) - scored)
        found.append(replace(pair, continuation=pair.continuation[:scored], ending=ending))
    return found


def _common_end(ids: Sequence[int], others: Sequence[int]) -> int:
    pairs = enumerate(zip(reversed(ids), reversed(others), strict=False))
    return next((n for n, (one, other) in pairs if one != other), min(len(ids), len(others)))


def move_space(context: str, continuation: str) -> tuple[str, str]:
    """White space at the context's end belongs to the continuation, as in running text."""
    bare = context.rstrip()
    return bare, context[len(bare) :] + continuation
