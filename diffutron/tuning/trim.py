"""`diffutron trim`: a model folder whose vocabulary is cut to the tokens of one's own texts."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffutron.data.sources.instruction_schemas import COLUMNS, Instruction, phase_of
from diffutron.data.sources.row_readers import KINDS as READABLE
from diffutron.data.sources.row_readers import BadLine, RawRow, read_file
from diffutron.data.sources.sources import Document, document_of, raw_instruction
from diffutron.inference.language_model import LanguageModel
from diffutron.inference.loading import load
from diffutron.modeling.encoder import count_parameters
from diffutron.modeling.tokenizer import Trimmed, save_tokenizer, trim
from diffutron.modeling.vocabulary import keep_rows
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import atomic_folder, write_json
from diffutron.runtime.progress import track
from diffutron.text.normalize import normalize
from diffutron.tuning.rows import EXAMPLES, FORMS, files_of

INFO = "diffutron.json"
NUMBERS = {
    "entries of the vocabulary": "vocab_size",
    "parameters": "parameters",
    "tokens per word": "fertility",
    "characters per token": "characters_per_token",
}
Told = Callable[[str], None]


@dataclass
class Texts:
    """The texts of files, read once; `bad` are the rows without one.

    Raises, while it is read:
        UserError: a file cannot be read to its end, or no row has a text.
    """

    files: Sequence[Path]
    told: Told
    bad: list[BadLine] = field(default_factory=list)

    def __iter__(self) -> Iterator[str]:
        usable = 0
        for file in self.files:
            for row in read_file(file, texts=("text", *COLUMNS)):
                text = row if isinstance(row, BadLine) else text_of(row)
                if isinstance(text, BadLine):
                    self.bad.append(text)
                else:
                    usable += 1
                    yield normalize(text)
        examples = "; ".join(
            f"{one.file} line {one.line}: {one.why}" for one in self.bad[:EXAMPLES]
        )
        if not usable:
            raise UserError(
                f"--data: none of {len(self.bad)} rows can be used: {examples}; a row is "
                f'{{"text"}}, {FORMS}'
            )
        if self.bad:
            self.told(f"{len(self.bad)} rows cannot be used: {examples}")


def text_of(row: RawRow) -> str | BadLine:
    """The text of a document, or of an instruction and its answer."""
    phase = phase_of(row.values)
    if phase is None and "text" not in row.values:
        keys = ", ".join(map(str, row.values)) or "nothing"
        return BadLine(row.file, row.line, f"no text and no instruction, it has {keys}")
    found = document_of(row) if phase is None else raw_instruction(row, phase)
    match found:
        case Document():
            return found.text
        case Instruction():
            return f"{found.prompt} {found.answer}"
    return found


def trim_model(model: str, data: Path, size: int, out: Path, *, told: Told) -> dict[str, Any]:
    """Write `out`, the model with a vocabulary cut to what the texts use; what that changed.

    Raises:
        UserError: a mistake in what was asked for, or a vocabulary that cannot be cut.
        ValueError: the model cannot be loaded; the message names `path`.
    """
    started = time.monotonic()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out} holds something; name a new folder, or remove it")
    texts = Texts(files_of(data, kinds=READABLE), told)
    lm = load(model, device="cpu")
    before = count_parameters(lm.model)["parameters"]
    found = trim(lm.tokenizer, track(texts, desc="trim", unit="texts"), size, setting="--size")
    if lm.vocab_size < found.kept.size:
        raise UserError(
            f"--model {model}: it has {lm.vocab_size} token embeddings and its tokenizer "
            f"{found.kept.size} tokens; take a model with the tokenizer that belongs to it"
        )
    keep_rows(lm.model, found.kept)
    _save(lm, found, model, out)
    after = count_parameters(lm.model)["parameters"]
    return {
        "before": {**found.before, "parameters": before},
        "after": {**found.after, "parameters": after},
        "texts": {
            "read": found.num_texts, "heldout": found.num_heldout, "unusable": len(texts.bad)
        },
        "seconds": round(time.monotonic() - started, 1),
        "model": str(out),
        "base": model,
    }  # fmt: skip


def _save(lm: LanguageModel, found: Trimmed, base: str, out: Path) -> None:
    """The folder of the cut model; it is no longer what a tuning wrote, if it was."""
    info = {name: value for name, value in lm.info.items() if name != "tuned"}
    cut = {"from": base, "entries_before": found.before["vocab_size"]}
    with atomic_folder(out) as work:
        lm.model.save_pretrained(work)
        save_tokenizer(found.tokenizer, work)
        found.kept.write(work)
        write_json(work / INFO, {"kind": "trimmed", "base": base} | info | {"trimmed": cut})


def table_rows(values: dict[str, Any]) -> list[list[str]]:
    """The rows of the table before / after."""
    sides = (values["before"], values["after"])
    return [
        [title, *(f"{one[key]:,}".replace(",", " ") for one in sides)]
        for title, key in NUMBERS.items()
    ]
