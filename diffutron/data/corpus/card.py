"""The data card of the corpus: what was read, what became of it, and what it looks like.

A card holds source text, so it is an output of the stage and never enters git.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from diffutron.data.card_page import (
    DROPPED_EXAMPLES,
    KEPT_EXAMPLES,
    Bars,
    Examples,
    Flow,
    Rows,
    Section,
    Words,
    cleaned_of_text,
    excerpt,
    histogram,
    page,
    reasons_text,
    repaired_table,
    search_sections,
)
from diffutron.data.corpus.document_table import REASONS, SPLITS, DocumentTable
from diffutron.data.sources.bad_rows import BadRows
from diffutron.data.sources.licenses import License
from diffutron.runtime.files import write_json, write_text
from diffutron.text.normalize import REPAIRS, repaired
from diffutron.text.privacy import by_kind

KEPT = "split <> ''"
CHARACTERS = (0, 50, 100, 200, 400, 800, 1600, 3200, 6400)
SAID_OF_USE = {True: "allowed", False: "forbidden", None: "not known"}


def count_corpus(
    table: DocumentTable,
    bad_rows: BadRows,
    edited: Counter[str],
    cleaned_of: Sequence[str],
    *,
    plates: bool,
) -> dict[str, Any]:
    """The counts of the corpus stage as plain JSON: its metrics, and the head of its card.

    plates: whether licence plates were looked for.
    """
    dropped = Counter({**table.count("reason"), "bad_line": bad_rows.bad})
    split = table.count("split")
    documents, tokens, spoken, characters = table.db.rows("""
        select count(*), sum(num_tokens), sum(num_words), sum(num_characters)
        from documents where split <> ''
    """)[0]
    of_split = dict(
        table.db.rows("select split, sum(num_tokens)::bigint from documents group by split")
    )
    inner = int(tokens) - 2 * documents  # begin and end tokens belong to no word
    return {
        "documents": {
            "read": bad_rows.read,
            "kept": documents,
            **{name: split.get(name, 0) for name in SPLITS},
        },
        "dropped": {reason: dropped[reason] for reason in REASONS},
        "tokens": {"kept": int(tokens), **{name: of_split.get(name, 0) for name in SPLITS}},
        "words": int(spoken),
        "fertility": round(inner / max(int(spoken), 1), 4),
        "characters_per_token": round(int(characters) / max(inner, 1), 4),
        "edited_lines": edited["lines"],
        "personal_data": by_kind(edited, plates=plates),
        "repaired": {kind: edited[repaired(kind)] for kind in REPAIRS},
        "cleaned_of": list(cleaned_of),
    }


def write_corpus_card(
    table: DocumentTable,
    counts: Mapping[str, Any],
    bad_rows: BadRows,
    licenses: Iterable[License],
    out: Path,
    *,
    seed: int,
) -> None:
    """`card.json`, `card.html` and `bad_lines.jsonl` of a corpus folder."""
    with_rule = "reason not in ('', 'contaminated') and rule <> ''"
    clusters = table.db.rows("""
        select size, count(*) from (select count(*) as size from clusters group by cluster)
        group by size order by size
    """)
    found = {
        **counts,
        "bad_lines": bad_rows.examples,
        "licenses": [asdict(one) for one in licenses],
        "by_source": _by_source(table),
        "rules": dict(sorted(table.count("reason || ': ' || rule", where=with_rule).items())),
        "duplicate_clusters": {str(size): number for size, number in clusters},
        "contaminated_by": table.count("split_part(rule, ':', 1)", where="reason = 'contaminated'"),
        "token_histogram": histogram(table.count("num_tokens", where=KEPT)),
        "character_histogram": histogram(table.count("num_characters", where=KEPT), CHARACTERS),
        "examples": _examples(table, seed=seed),
    }
    write_json(out / "card.json", found)
    write_text(out / "card.html", page("Corpus", corpus_sections(found)))
    bad_rows.write(out / "bad_lines.jsonl")


def _by_source(table: DocumentTable) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    rows = table.db.rows("select source, reason, count(*) from documents group by all")
    for source, reason, number in sorted(rows):
        counts.setdefault(source, {})[reason] = number
    return {
        source: {reason or "kept": of[reason] for reason in ("", *REASONS) if reason in of}
        for source, of in counts.items()
    }


def _examples(table: DocumentTable, *, seed: int) -> dict[str, list[dict[str, str]]]:
    """Documents drawn by a hash of their place: some kept ones, and some of each reason."""
    text = table.texts()
    found = {}
    for reason in ("", *REASONS):
        drawn = table.db.rows(
            """select index, source, rule from documents where reason = ?
            order by sha256(? || ':' || index) limit ?""",
            [reason, str(seed), DROPPED_EXAMPLES if reason else KEPT_EXAMPLES],
        )
        if drawn:
            found[reason or "kept"] = [
                {"source": source, "rule": rule, "text": excerpt(text(index))}
                for index, source, rule in drawn
            ]
    return found


def commercial_use(licenses: Iterable[Mapping[str, Any]]) -> str:
    """Whether the result may be used commercially, as far as the licenses of its sources say."""
    found = {one["commercial"] for one in licenses}
    if False in found:
        return "The result may not be used commercially: the license of a source forbids it."
    if None in found:
        return "Not known whether the result may be used commercially: a source states no license."
    return "The licenses of all sources allow commercial use; their other terms still bind."


def corpus_sections(found: Mapping[str, Any]) -> list[Section]:
    """The page of the card, from its JSON."""
    documents, tokens = found["documents"], found["tokens"]
    sources = [
        [source, counts.get("kept", 0), reasons_text(counts)]
        for source, counts in found["by_source"].items()
    ]
    licenses = found["licenses"]
    license_rows = [
        [one["source"], one["license"], SAID_OF_USE[one["commercial"]]] for one in licenses
    ]
    return [
        Words(
            f"{documents['kept']:,} of {documents['read']:,} documents kept: "
            f"{documents['train']:,} for training ({tokens['train']:,} tokens), "
            f"{documents['heldout']:,} held out ({tokens['heldout']:,} tokens). "
            f"{found['fertility']} tokens a word, {found['characters_per_token']} characters a "
            f"token; {found['edited_lines']:,} lines taken out as boilerplate."
        ),
        Flow("What each step dropped", documents["kept"], found["dropped"]),
        Rows("By source", ["source", "kept", "dropped"], sources),
        Rows("Licenses", ["source", "license", "commercial use"], license_rows),
        Words(commercial_use(licenses)),
        Bars("Tokens of a kept document", found["token_histogram"], "tokens from"),
        Bars("Characters of a kept document", found["character_histogram"], "characters from"),
        Bars("Duplicates by cluster size", found["duplicate_clusters"], "documents"),
        Rows("Rules that dropped", ["rule", "documents"], found["rules"].items()),
        Rows("Personal data replaced", ["kind", "found"], found["personal_data"].items()),
        repaired_table(found["repaired"], "documents"),
        Words(cleaned_of_text(found["cleaned_of"]), title="Evaluation text"),
        *search_sections(found),
        Rows("Evaluation text found", ["set", "documents"], found["contaminated_by"].items()),
        *(Examples(f"Examples: {name}", rows) for name, rows in found["examples"].items()),
    ]
