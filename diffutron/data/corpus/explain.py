"""`diffutron corpus --explain FILE`: what every step says of each document of one file.

The table are those of the stage itself, on this file alone: quotas and the held-out split, which
say nothing about a text, are left out.
"""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from diffutron.config.data_params import PersonalDataParams
from diffutron.config.params import Params
from diffutron.data.corpus.boilerplate import drop_boilerplate
from diffutron.data.corpus.comparing_steps import (
    drop_contaminated_documents,
    drop_duplicate_documents,
)
from diffutron.data.corpus.document_steps import Cleaner, Recipe, cut_huge
from diffutron.data.corpus.document_table import DocumentTable
from diffutron.data.corpus.shards import ShardFile, clean_batch
from diffutron.data.evaluation_sets.kept_out import evaluation_items
from diffutron.data.matching.database import database
from diffutron.data.sources.listing import entries, entry_of
from diffutron.data.sources.row_readers import KINDS, BadLine, read_file
from diffutron.data.sources.sources import Document, document_of
from diffutron.runtime.errors import UserError
from diffutron.text.filters import drop_leftover_lines, quality_reason, repetition_reason
from diffutron.text.language import in_kept_language
from diffutron.text.normalize import normalize
from diffutron.text.privacy import replace_personal_data

GOOD = "ok"


@dataclass(frozen=True)
class Explained:
    """One document: `reason` is null where it is kept, `text` is as it would enter the corpus."""

    line: int
    kept: bool
    reason: str | None
    rule: str
    text: str
    steps: dict[str, str]


def explain(params: Params, *, tokenizer: Path, file: Path) -> Iterator[Explained]:
    """The fate of each document of a file, in the order of its lines.

    Raises:
        UserError: the file is absent, of another kind, or cannot be read to its end.
    """
    if not file.is_file() or not file.name.lower().endswith(KINDS):
        raise UserError(f"--explain {file}: must be a file of {', '.join(KINDS)}")
    entry = entry_of(file, entries(file.parent))
    found = [document_of(row, entry) for row in read_file(file)]
    documents = [one for one in found if isinstance(one, Document)]
    recipe = Recipe.of(params.corpus, tokenizer, evaluation_items(params))
    bad = [
        Explained(one.line, False, "bad_line", one.why, "", {})
        for one in found
        if isinstance(one, BadLine)
    ]
    good = _judge(documents, recipe, params) if documents else []
    yield from sorted([*good, *bad], key=lambda one: one.line)


def _judge(documents: list[Document], recipe: Recipe, params: Params) -> list[Explained]:
    rules, cleaner = params.corpus, recipe.cleaner()
    with tempfile.TemporaryDirectory() as folder, database() as db:
        path = Path(folder) / "file.arrow"
        path.write_bytes(clean_batch([*cut_huge(documents, rules)], cleaner))
        most = rules.boilerplate_documents
        plain, _ = drop_boilerplate(
            [ShardFile.at(path)], recipe.cleaner, db, most=most, folder=Path(folder) / "plain"
        )
        table = DocumentTable.load(plain, db)
        drop_duplicate_documents(table, rules)
        drop_contaminated_documents(table)
        text_of, raw = table.texts(), {one.line: one.text for one in documents}
        rows = db.rows("""
            select documents.index, documents.line, documents.reason, documents.rule, other.line
            from documents left join documents as other on other.index = documents.instead
            order by documents.index
        """)
        explained = []
        for index, line, reason, rule, copied in rows:
            text = text_of(index)
            steps = _edits(raw[line], cleaner.params.personal_data) | _verdicts(text, cleaner)
            steps["duplicate"] = GOOD if copied is None else f"{rule} copy of line {copied}"
            explained.append(Explained(line, not reason, reason or None, rule, text, steps))
        return explained


def _edits(raw: str, rules: PersonalDataParams) -> dict[str, str]:
    """What the steps that change a text did to it."""
    text = normalize(raw)
    plain = drop_leftover_lines(text)
    gone = text.count("\n") - plain.count("\n")
    _, personal = replace_personal_data(plain, plates=rules.plates)
    said = ", ".join(f"{kind} {number}" for kind, number in sorted(personal.items()))
    return {
        "normalize": GOOD if text == raw else "changed",
        "leftover_lines": f"{gone} taken out" if gone else GOOD,
        "personal_data": f"replaced: {said}" if said else GOOD,
    }


def _verdicts(text: str, cleaner: Cleaner) -> dict[str, str]:
    """What each step that judges a text alone says, whether or not another one dropped it."""
    rules = cleaner.params
    tokens = len(cleaner.encode([text])[0])
    short, long = tokens < rules.min_tokens, tokens > rules.max_tokens
    length = "too_short" if short else "too_long" if long else GOOD
    return {
        "language": GOOD if in_kept_language(text, rules.language) else "not a kept language",
        "length": f"{length} ({tokens} tokens)",
        "quality": quality_reason(text, rules.quality) or GOOD,
        "repetition": repetition_reason(text, rules.repetition) or GOOD,
        "contaminated": cleaner.contamination.find(text) or GOOD,
    }


def to_json(one: Explained) -> str:
    return json.dumps(asdict(one), ensure_ascii=False)


def to_text(one: Explained) -> str:
    """For reading: the fate, what the steps had to say, and the text."""
    fate = "kept" if one.kept else f"dropped: {one.reason}" + (f" ({one.rule})" if one.rule else "")
    said = [f"  {step}: {what}" for step, what in one.steps.items() if what != GOOD]
    text = [f"  | {line}" for line in one.text.split("\n")] if one.text else []
    return "\n".join([f"line {one.line}: {fate}", *said, *text])
