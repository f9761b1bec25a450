"""A published vocabulary cut to the tokens that one's own texts use, and the rows of the model that
belong to them.

Most rows of a multilingual vocabulary are never read by Turkish text. A token of a byte-pair
encoding is made by one sequence of merges, whatever stands around it, so a kept token is made as
before where all tokens of its sequence are kept too. What was spelled by a token that is not kept
is spelled by smaller ones, in the end by bytes, so that no text becomes unknown.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, islice, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from diffutron.runtime.errors import UserError
from diffutron.runtime.files import read_json, write_text

if TYPE_CHECKING:
    from transformers import ModernBertForMaskedLM

FILE = "kept_ids.json"
BATCH = 1000  # texts that are encoded at once
MULTIPLE = 64  # of entries: matrix products of other widths are slower on a GPU
BYTE = "<0x{:02X}>"  # the token of a byte
Merges = Mapping[tuple[str, str], int]  # a pair and its place in the order of merges


@dataclass(frozen=True)
class Kept:
    """Which entries of a larger vocabulary a cut one has: `ids[new id]` is the old id, ascending.

    size: how many ids the larger one has. digest: of its tokens and ids.
    """

    ids: list[int]
    size: int
    digest: str

    def write(self, folder: Path) -> None:
        values = {"ids_before": self.size, "vocabulary_before": self.digest, "kept": self.ids}
        write_text(folder / FILE, json.dumps(values, separators=(",", ":")))

    @classmethod
    def read(cls, folder: Path) -> "Kept | None":
        """What lies beside a cut tokenizer; None beside a whole one."""
        if not (folder / FILE).is_file():
            return None
        values = read_json(folder / FILE)
        return cls(values["kept"], values["ids_before"], values["vocabulary_before"])


def vocabulary_digest(tokenizer: Any) -> str:
    """sha256 of the tokens with their ids."""
    entries = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    return sha256(json.dumps(entries).encode()).hexdigest()


def count_tokens(tokenizer: Any, texts: Iterable[str]) -> Counter[int]:
    """How often each id stands in the texts."""
    encode = tokenizer.backend_tokenizer.encode_batch_fast
    found: Counter[int] = Counter()
    texts = iter(texts)
    while some := list(islice(texts, BATCH)):
        found.update(chain.from_iterable(one.ids for one in encode(some, add_special_tokens=False)))
    return found


def cut_vocabulary(
    tokenizer: Any, counts: Mapping[int, int], size: int, *, always: Iterable[int], setting: str
) -> tuple[Any, Kept]:
    """The tokenizer with the `size` most frequent tokens, and with what they need.

    Kept besides: special and added tokens, the ids of `always`, the bytes or letters from which
    any text can be spelled, and the tokens from which a kept one is merged; then the next frequent
    tokens up to a multiple of 64 entries. New ids are in the order of the old ones.

    Raises:
        UserError: the vocabulary is no byte-pair encoding, or has no more than `size` entries.
    """
    before = tokenizer.get_vocab()
    if len(before) <= size:
        raise UserError(f"{setting}: the vocabulary has {len(before)} entries; ask for fewer")
    state = byte_pairs(tokenizer, setting=setting)
    tokens = {number: token for token, number in before.items()}
    frequent = [tokens[one] for one in sorted(counts, key=lambda one: (-counts[one], one))]
    needed = _always_kept(state) | {tokens[one] for one in always}
    kept = _closed(state, needed, frequent, size)
    ids = sorted(before[token] for token in kept)
    new_ids = {tokens[old]: new for new, old in enumerate(ids)}
    made = _with_json(tokenizer, _renumbered(state, new_ids))
    if made.get_vocab() != new_ids:
        raise UserError(f"{setting}: this tokenizer holds tokens of its own and cannot be cut")
    return made, Kept(ids, 1 + max(tokens), vocabulary_digest(tokenizer))


def byte_pairs(tokenizer: Any, *, setting: str) -> dict[str, Any]:
    """The `tokenizer.json` of a byte-pair encoding; another kind is a `UserError`."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        kind = type(tokenizer).__name__
    else:
        state = json.loads(backend.to_str())
        model = state["model"]
        kind = model["type"]
        if kind == "BPE":
            if not model["continuing_subword_prefix"] and not model["end_of_word_suffix"]:
                return state
            kind = "one that marks the parts of words"
    raise UserError(
        f"{setting}: only a byte-pair encoding (BPE) without marks in words can be cut, and this "
        f"vocabulary is {kind}; leave it whole"
    )


def _always_kept(state: dict[str, Any]) -> set[str]:
    """Tokens that are kept although no text may use them."""
    model, vocabulary = state["model"], state["model"]["vocab"].keys()
    found = {one["content"] for one in state["added_tokens"]}
    found |= _named(state["post_processor"])
    if model["unk_token"]:
        found.add(model["unk_token"])
    letters = {token for token in vocabulary if len(token) == 1}
    if model["byte_fallback"]:
        # A letter without a token is spelled by its bytes, but for one that the decoder rewrites.
        spelled = {one for one in letters if vocabulary >= {*_bytes_of(one)}}
        letters -= spelled.difference(json.dumps(state["decoder"], ensure_ascii=False))
        found |= vocabulary & {*map(BYTE.format, range(256))}
    return found | letters


def _bytes_of(letter: str) -> list[str]:
    """The tokens of its UTF-8 bytes."""
    return [BYTE.format(byte) for byte in letter.encode()]


def _closed(state: dict[str, Any], needed: set[str], frequent: list[str], size: int) -> set[str]:
    """The needed tokens and the most frequent ones, closed under merges."""
    vocabulary = state["model"]["vocab"].keys() | needed
    merges = {(left, right): place for place, (left, right) in enumerate(state["model"]["merges"])}
    kept: set[str] = set()
    for token in (*needed, *frequent[:size]):
        kept |= (merged_from(token, merges) & vocabulary) | {token}
    for token in frequent[size:]:
        if len(kept) % MULTIPLE == 0:
            break
        if merged_from(token, merges) - kept == {token}:
            kept.add(token)
    return kept


def merged_from(token: str, merges: Merges) -> set[str]:
    """All that arises while a token is merged from its letters, itself among them.

    At each step the pair that stands first in `merges` is merged (Sennrich et al., arXiv
    1508.07909, algorithm 1).
    """
    parts = [*token]
    found = {*parts}
    while known := [
        (merges[pair], at) for at, pair in enumerate(pairwise(parts)) if pair in merges
    ]:
        _, at = min(known)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
        found.add(parts[at])
    return found


def _named(processor: dict[str, Any] | None) -> set[str]:
    """The tokens that a post-processor of `tokenizer.json` puts around a text."""
    match processor:
        case {"type": "Sequence", "processors": parts}:
            return set().union(*map(_named, parts))
        case {"type": "TemplateProcessing", "special_tokens": special}:
            return {token for one in special.values() for token in one["tokens"]}
        case {"sep": [sep, _], "cls": [cls, _]}:
            return {sep, cls}
    return set()


def _processor(processor: Any, new_ids: Mapping[str, int]) -> Any:
    """The post-processor with the new ids of the tokens that `_named` finds."""
    match processor:
        case {"type": "Sequence", "processors": parts}:
            return processor | {"processors": [_processor(part, new_ids) for part in parts]}
        case {"type": "TemplateProcessing", "special_tokens": special}:
            renamed = {
                name: one | {"ids": [new_ids[token] for token in one["tokens"]]}
                for name, one in special.items()
            }
            return processor | {"special_tokens": renamed}
        case {"sep": [sep, _], "cls": [cls, _]}:
            return processor | {"sep": [sep, new_ids[sep]], "cls": [cls, new_ids[cls]]}
    return processor


def _renumbered(state: dict[str, Any], new_ids: Mapping[str, int]) -> dict[str, Any]:
    """The `tokenizer.json` with the tokens of `new_ids` alone, under these ids."""
    model = state["model"]
    vocabulary = {token: new_ids[token] for token in model["vocab"] if token in new_ids}
    merges = [
        [left, right]
        for left, right in model["merges"]
        if left in vocabulary and right in vocabulary and left + right in vocabulary
    ]
    added = [one | {"id": new_ids[one["content"]]} for one in state["added_tokens"]]
    return state | {
        "padding": None,
        "truncation": None,
        "added_tokens": sorted(added, key=lambda one: one["id"]),
        "post_processor": _processor(state["post_processor"], new_ids),
        "model": model | {"vocab": vocabulary, "merges": merges},
    }


def _with_json(tokenizer: Any, state: dict[str, Any]) -> Any:
    """A tokenizer as this one, with another `tokenizer.json`."""
    from transformers import AutoTokenizer

    with TemporaryDirectory(prefix="diffutron-vocabulary-") as folder:
        tokenizer.save_pretrained(folder)
        Path(folder, "tokenizer.json").write_text(json.dumps(state), encoding="utf-8")
        return AutoTokenizer.from_pretrained(folder)


def keep_rows(model: "ModernBertForMaskedLM", kept: Kept) -> None:
    """Leave only the kept rows of embedding and decoder, under their new ids, in place."""
    import torch

    config: Any = model.config
    embedding: Any = model.get_input_embeddings()
    decoder: Any = model.get_output_embeddings()
    rows = torch.tensor(kept.ids)

    def chosen(weight: torch.Tensor) -> torch.nn.Parameter:
        return torch.nn.Parameter(weight.detach()[rows], weight.requires_grad)

    tied = decoder.weight is embedding.weight
    embedding.weight = chosen(embedding.weight)
    decoder.weight = embedding.weight if tied else chosen(decoder.weight)
    if decoder.bias is not None:
        decoder.bias = chosen(decoder.bias)
    new_ids = {old: new for new, old in enumerate(kept.ids)}
    for name, value in list(vars(config).items()):
        if name.endswith("_token_id") and value is not None:
            setattr(config, name, new_ids.get(value))
    embedding.padding_idx = config.pad_token_id
    embedding.num_embeddings = decoder.out_features = config.vocab_size = len(rows)
