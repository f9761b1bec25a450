"""Stage `tokenizer`, and the chat format that every prompt and answer goes through.

A scratch tokenizer is a byte-level BPE, so no Turkish letter is ever unknown, with the special
tokens in mmBERT's order and the chat markers as single tokens. A published tokenizer is taken as it
is: its vocabulary is not extended, and the markers are then ordinary text. `tokenizer.trim` cuts it
to the tokens that the sources use.
"""

import json
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from diffutron.config.data_params import TokenizerParams
from diffutron.config.params import Params
from diffutron.modeling.vocabulary import Kept, byte_pairs, count_tokens, cut_vocabulary
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import atomic_folder, require_folder, write_json, write_text
from diffutron.runtime.hub import TOKENIZER, open_repository
from diffutron.runtime.json_lines import require_unicode
from diffutron.runtime.progress import track

SPECIAL_TOKENS = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
END_OF_ANSWER = "[/Answer]"
CHAT_MARKERS = ("[SYS]", "[/SYS]", "[Question]", "[/Question]", "[Answer]", END_OF_ANSWER)
MEASURED_TEXTS = 2000  # fertility is measured on this many texts
HELD_OUT_EVERY = 20  # of the texts that a vocabulary is cut to, one is left for measuring

# A suffix after an apostrophe is one piece (Ankara'da), a word takes the space before it, and
# numbers are cut every three digits.
PIECES = r"['’][\p{L}\p{M}]+| ?[\p{L}\p{M}]+| ?\p{N}{1,3}| ?[^\s\p{L}\p{M}\p{N}]+|\s+(?!\S)|\s+"

# `compact` keeps a space before the text, so that a label has the token it has in running text.
# `published` has no begin token, and a blank line stands after each block (Diffutron/dllm).
_CHAT_TEMPLATE = """BEGIN
{%- set markers = {'system': 'SYS', 'user': 'Question', 'assistant': 'Answer'} %}
{%- for message in messages %}
    {%- set marker = markers[message['role']] %}
    {{- '[' ~ marker ~ ']GAP' ~ message['content'] | trim ~ 'END[/' ~ marker ~ ']NEXT' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '[Answer]START' }}
{%- endif %}
"""
_GAPS = {
    "compact": {"BEGIN": "{{- bos_token }}", "GAP": " ", "END": "", "NEXT": "", "START": ""},
    "published": {"BEGIN": "", "GAP": "\\n", "END": "\\n", "NEXT": "\\n\\n", "START": "\\n"},
}


def tokenizer(params: Params, texts: Iterable[str], *, out: Path, metrics: Path) -> None:
    """Write the tokenizer folder that every later stage reads.

    `texts` train a scratch vocabulary, or say what is kept of a published one that is cut; of a
    whole one only the first few are read, to measure tokens a word.

    Raises:
        UserError: the tokenizer cannot be had, or has no mask token.
    """
    started = time.perf_counter()
    section = params.tokenizer
    some = track(islice(texts, section.max_documents), desc="tokenizer", unit="texts")
    kept, measured = None, []
    if section.source == "scratch":

        def remembered() -> Iterator[str]:
            for text in some:
                if len(measured) < MEASURED_TEXTS:
                    measured.append(text)
                yield text

        made = train(remembered(), section)
        found = fertility(made, measured)
    elif section.trim is None:
        made = load_published(section)
        found = fertility(made, list(islice(texts, MEASURED_TEXTS)))
    else:
        cut = trim(load_published(section), some, section.trim, setting="tokenizer.trim")
        made, kept = cut.tokenizer, cut.kept
        found = {**cut.after, **{f"{name}_before": value for name, value in cut.before.items()}}
    made.chat_template = chat_template(section.chat_format)
    with atomic_folder(out) as work:
        save_tokenizer(made, work)
        if kept is not None:
            kept.write(work)
    seconds = round(time.perf_counter() - started, 2)
    write_json(metrics, {"vocab_size": len(made), **found, "seconds": seconds})


def save_tokenizer(made: Any, folder: Path) -> None:
    """Write a tokenizer, with its chat template if it has one, into a folder."""
    made.save_pretrained(folder)
    file = folder / "tokenizer.json"  # indented it is three times as large, and read half as fast
    values = json.loads(file.read_text(encoding="utf-8"))
    write_text(file, json.dumps(values, ensure_ascii=False, separators=(",", ":")))
    if made.chat_template:
        write_text(folder / "chat_template.jinja", made.chat_template)


def chat_template(chat_format: str) -> str:
    """The Jinja template of `compact` or `published` chats."""
    text = _CHAT_TEMPLATE
    for name, gap in _GAPS[chat_format].items():
        text = text.replace(name, gap)
    return text


def train(texts: Iterable[str], section: TokenizerParams) -> Any:
    """A byte-level BPE of `vocab_size` trained on `texts`; the same texts give the same bytes."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from tokenizers.processors import TemplateProcessing
    from tokenizers.trainers import BpeTrainer
    from transformers import PreTrainedTokenizerFast

    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = [*SPECIAL_TOKENS, *CHAT_MARKERS]
    if section.vocab_size < len(alphabet) + len(special):
        raise UserError(
            f"tokenizer.vocab_size = {section.vocab_size} is below the {len(alphabet)} bytes and "
            f"{len(special)} special tokens; raise it"
        )
    model = Tokenizer(models.BPE(unk_token=None, byte_fallback=False))
    model.normalizer = normalizers.NFC()
    model.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    model.decoder = decoders.ByteLevel()
    model.train_from_iterator(
        texts,
        BpeTrainer(
            vocab_size=section.vocab_size,
            special_tokens=special,
            initial_alphabet=sorted(alphabet),
            show_progress=False,
        ),
    )
    model.post_processor = TemplateProcessing(
        single="<bos> $A <eos>",
        pair="<bos> $A <eos> $B <eos>",
        special_tokens=[("<bos>", 2), ("<eos>", 1)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=model,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        unk_token="<unk>",
        mask_token="<mask>",
        cls_token="<bos>",
        sep_token="<eos>",
        additional_special_tokens=list(CHAT_MARKERS),
        clean_up_tokenization_spaces=False,
    )


@dataclass(frozen=True)
class Trimmed:
    """A cut tokenizer, and what held-out texts cost before and after: `fertility`, entries."""

    tokenizer: Any
    kept: Kept
    before: dict[str, float]
    after: dict[str, float]
    num_texts: int
    num_heldout: int


def trim(made: Any, texts: Iterable[str], size: int, *, setting: str) -> Trimmed:
    """The tokenizer with the `size` most frequent tokens of the texts, and with what they need.

    Raises:
        UserError: the tokenizer cannot be cut, or there are too few texts; it names `setting`.
    """
    byte_pairs(made, setting=setting)  # another kind is told before the texts are read
    heldout: list[str] = []

    num_texts = 0

    def counted() -> Iterator[str]:
        nonlocal num_texts
        for num_texts, text in enumerate(texts, 1):
            if num_texts % HELD_OUT_EVERY:
                yield text
            else:
                heldout.append(text)

    counts = count_tokens(made, counted())
    if not heldout:
        raise UserError(
            f"{setting}: there are fewer than {HELD_OUT_EVERY} texts, too few to say which tokens "
            "are in use; bring more"
        )
    exchange = [{"role": role, "content": "."} for role in ("system", "user", "assistant")]
    chats = [
        made.apply_chat_template(exchange, chat_template=chat_template(name), tokenize=False)
        for name in _GAPS
    ]
    frames = {token for ids in _encode(made, chats) for token in ids}
    cut, kept = cut_vocabulary(made, counts, size, always=frames, setting=setting)
    decoded = [one.batch_decode(_encode(one, heldout)) for one in (made, cut)]
    if decoded[0] != decoded[1]:
        raise UserError(f"{setting}: texts change when this tokenizer is cut; leave it whole")
    before, after = ({"vocab_size": len(one), **fertility(one, heldout)} for one in (made, cut))
    return Trimmed(cut, kept, before, after, num_texts, len(heldout))


def load_published(section: TokenizerParams) -> Any:
    """The tokenizer of a hub repository at its commit, or of a local folder."""
    folder, where = Path(section.name), f"tokenizer.name = {section.name!r}"
    if section.source == "hub":
        repository = open_repository(
            section.name, revision=section.revision, commit=section.commit, setting="tokenizer.name"
        )
        folder = repository.fetch(*TOKENIZER)
    elif not folder.is_dir():
        raise UserError(f"{where}: no such folder; with source local it must be one")
    return _for_training(folder, where=where, advice="choose another")


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder; one that training could not use is a `UserError`."""
    require_folder(folder, made_by="tokenizer")
    return _for_training(folder, where=str(folder), advice="run the stage `tokenizer` again")


def _for_training(folder: Path, *, where: str, advice: str) -> Any:
    try:
        found = read_tokenizer(folder, advice=advice)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error
    for kind, names in (("pad", "pad"), ("begin", "bos or cls"), ("end", "eos or sep")):
        if getattr(found, f"{names[:3]}_token_id") is None:
            raise UserError(f"{where}: a tokenizer without {kind} token ({names}); choose another")
    return found


def read_tokenizer(folder: Path, *, advice: str) -> Any:
    """The tokenizer of a folder.

    Raises:
        ValueError: nothing readable is there (ends with `advice`), or it has no mask token.
    """
    from transformers import AutoTokenizer

    try:
        found = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"no tokenizer can be read there ({reason}); {advice}") from error
    for name, other in (("bos_token", "cls_token"), ("eos_token", "sep_token")):
        if getattr(found, name) is None:  # BERT's names; chat templates know the others alone
            setattr(found, name, getattr(found, other))
    if found.mask_token_id is None:
        raise ValueError(
            "a tokenizer without mask token; masked diffusion needs one, so choose the tokenizer "
            "of a masked language model"
        )
    return found


def fertility(made: Any, texts: Sequence[str]) -> dict[str, float]:
    """Tokens a word and characters a token, special tokens not counted; zeros without texts."""
    num_tokens = sum(len(ids) for ids in _encode(made, texts)) if texts else 0
    num_words = sum(len(text.split()) for text in texts)
    return {
        "fertility": round(num_tokens / max(num_words, 1), 4),
        "characters_per_token": round(sum(map(len, texts)) / max(num_tokens, 1), 4),
    }


def _encode(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    if not texts:
        return []
    return tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]


def encode_prompt(tokenizer: Any, prompt: str) -> list[int]:
    """The question in the chat format, and the opening of the answer."""
    return encode_prompts(tokenizer, [prompt])[0]


def encode_prompts(tokenizer: Any, prompts: Sequence[str]) -> list[list[int]]:
    """`encode_prompt` of many, in one call of the tokenizer."""
    before, after = _frame(tokenizer, answer=False)
    texts = escape_special_tokens(tokenizer, prompts)
    return _encode(tokenizer, [f"{before}{text.strip()}{after}" for text in texts])


def encode_answer(tokenizer: Any, answer: str) -> list[int]:
    """The answer as it follows `encode_prompt`: its text, what closes it, the end token."""
    return encode_answers(tokenizer, [answer])[0]


def encode_answers(tokenizer: Any, answers: Sequence[str]) -> list[list[int]]:
    """`encode_answer` of many, in one call of the tokenizer."""
    before, after = _frame(tokenizer, answer=True)
    texts = escape_special_tokens(tokenizer, answers)
    encoded = _encode(tokenizer, [f"{before}{text.strip()}{after}" for text in texts])
    return [[*ids, tokenizer.eos_token_id] for ids in encoded]


def encode_chats(
    tokenizer: Any, prompts: Sequence[str], answers: Sequence[str]
) -> list[tuple[list[int], list[int]]]:
    """For each pair the ids of `encode_prompt` and of `encode_answer`: joined, a training row."""
    pairs = zip(encode_prompts(tokenizer, prompts), encode_answers(tokenizer, answers), strict=True)
    return list(pairs)


def _frame(tokenizer: Any, *, answer: bool) -> tuple[str, str]:
    """What the chat template puts before and after a prompt, or an answer, of one exchange."""
    hole = "\ue000"  # private use: in no template
    question = [{"role": "user", "content": hole}]
    opened = tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=True)
    if not answer:
        before, _, after = opened.partition(hole)
        return before, after
    exchange = [*question, {"role": "assistant", "content": hole}]
    whole = tokenizer.apply_chat_template(exchange, tokenize=False)
    before, _, after = whole.removeprefix(opened).partition(hole)
    return before, after


def escape_special_tokens(tokenizer: Any, texts: Iterable[str]) -> list[str]:
    """Texts in which no special token or chat marker can be read: each gets a space inside.

    Raises ValueError for what is no Unicode text.
    """
    texts = list(texts)
    require_unicode(texts)
    tokens = dict.fromkeys((*CHAT_MARKERS, *tokenizer.all_special_tokens))
    found = re.compile("|".join(re.escape(token) for token in tokens))
    return [
        found.sub(lambda match: f"{match.group()[0]} {match.group()[1:]}", text) for text in texts
    ]


def decode_answer(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of generated ids up to the closing marker or the end token, without edges."""
    ids = [int(token) for token in ids]
    ends = {tokenizer.eos_token_id, tokenizer.pad_token_id}
    stop = next((place for place, token in enumerate(ids) if token in ends), len(ids))
    text = tokenizer.decode(ids[:stop], skip_special_tokens=False)
    text = text.split(END_OF_ANSWER)[0]
    for token in tokenizer.all_special_tokens:
        text = text.replace(token, "")
    return text.strip()
