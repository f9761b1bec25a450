"""The data card of the corpus: what was read, what became of it, and what it looks like.

A card holds source text, so it is an output of the stage and never enters git.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from diffutron.data.corpus.card_page import Bars, Examples, Flow, Rows, Section, Words, page
from diffutron.data.corpus.document_table import REASONS, SPLITS, Fates
from diffutron.data.sources.bad_rows import Quarantine
from diffutron.data.sources.licenses import License
from diffutron.runtime.files import write_json, write_text
from diffutron.text.privacy import KINDS

KEPT_EXAMPLES = 20
DROPPED_EXAMPLES = 5
EXCERPT = 300  # characters of an example in the Markdown card
LENGTHS = (0, 8, 16, 32, 64, 128, 256, 512, 1024)
KEPT = "split <> ''"
CHARACTERS = (0, 50, 100, 200, 400, 800, 1600, 3200, 6400)


def count_corpus(fates: Fates, quarantine: Quarantine, edited: Counter[str]) -> dict[str, Any]:
    """The counts of the corpus stage as plain JSON: its metrics, and the head of its card."""
    dropped = Counter({**fates.count("reason"), "bad_line": quarantine.bad})
    split = fates.count("split")
    documents, tokens, spoken, characters = fates.base.rows("""
        select count(*), sum(num_tokens), sum(num_words), sum(num_characters)
        from documents where split <> ''
    """)[0]
    of_split = dict(
        fates.base.rows("select split, sum(num_tokens)::bigint from documents group by split")
    )
    inner = int(tokens) - 2 * documents  # begin and end tokens belong to no word
    return {
        "documents": {
            "read": quarantine.read,
            "kept": documents,
            **{name: split.get(name, 0) for name in SPLITS},
        },
        "dropped": {reason: dropped[reason] for reason in REASONS},
        "tokens": {"kept": int(tokens), **{name: of_split.get(name, 0) for name in SPLITS}},
        "words": int(spoken),
        "fertility": round(inner / max(int(spoken), 1), 4),
        "characters_per_token": round(int(characters) / max(inner, 1), 4),
        "edited_lines": edited["lines"],
        "personal_data": {kind: edited[kind] for kind in KINDS},
    }


def write_corpus_card(
    fates: Fates,
    counts: Mapping[str, Any],
    quarantine: Quarantine,
    licenses: Iterable[License],
    out: Path,
    *,
    seed: int,
) -> None:
    """`card.json`, `card.md`, `card.html` and `bad_lines.jsonl` of a corpus folder."""
    found = {
        **counts,
        "bad_lines": quarantine.examples,
        "licenses": [asdict(one) for one in licenses],
        "by_source": _by_source(fates),
        "rules": _rules(fates),
        "duplicate_clusters": _cluster_sizes(fates),
        "contaminated_by": fates.count("split_part(rule, ':', 1)", where="reason = 'contaminated'"),
        "token_histogram": histogram(fates.count("num_tokens", where=KEPT)),
        "character_histogram": histogram(fates.count("num_characters", where=KEPT), CHARACTERS),
        "examples": _examples(fates, seed=seed),
    }
    write_json(out / "card.json", found)
    write_text(out / "card.md", _markdown(found))
    write_text(out / "card.html", page("Corpus", corpus_sections(found)))
    quarantine.write(out / "bad_lines.jsonl")


def _rules(fates: Fates) -> dict[str, int]:
    """Dropped documents by the rule within a step that dropped them."""
    where = "reason not in ('', 'contaminated') and rule <> ''"
    return dict(sorted(fates.count("reason || ': ' || rule", where=where).items()))


def _by_source(fates: Fates) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    rows = fates.base.rows("select source, reason, count(*) from documents group by all")
    for source, reason, number in sorted(rows):
        counts.setdefault(source, {})[reason] = number
    return {
        source: {reason or "kept": of[reason] for reason in ("", *REASONS) if reason in of}
        for source, of in counts.items()
    }


def _cluster_sizes(fates: Fates) -> dict[str, int]:
    """Size of a cluster of copies -> how many there are."""
    rows = fates.base.rows("""
        select size, count(*) from (select count(*) as size from clusters group by cluster)
        group by size order by size
    """)
    return {str(size): number for size, number in rows}


def histogram(lengths: Mapping[int, int], lows: Sequence[int] = LENGTHS) -> dict[str, int]:
    """From how often each length occurs: the lower bound of each bin and its count."""
    counts, _ = np.histogram(
        list(lengths), bins=[*lows, np.iinfo(np.int64).max], weights=list(lengths.values())
    )
    return {str(low): int(count) for low, count in zip(lows, counts, strict=True)}


def _examples(fates: Fates, *, seed: int) -> dict[str, list[dict[str, str]]]:
    """Documents drawn by a hash of their place: some kept ones, and some of each reason."""
    text = fates.texts()
    found = {}
    for reason in ("", *REASONS):
        drawn = fates.base.rows(
            """select index, source, rule from documents where reason = ?
            order by sha256(? || ':' || index) limit ?""",
            [reason, str(seed), DROPPED_EXAMPLES if reason else KEPT_EXAMPLES],
        )
        if drawn:
            found[reason or "kept"] = [
                {"source": source, "rule": rule, "text": text(index)}
                for index, source, rule in drawn
            ]
    return found


def _markdown(found: Mapping[str, Any]) -> str:
    documents, tokens = found["documents"], found["tokens"]
    lines = [
        "# Corpus",
        "",
        f"{documents['kept']} of {documents['read']} documents kept: {documents['train']} for "
        f"training ({tokens['train']} tokens), {documents['heldout']} held out "
        f"({tokens['heldout']} tokens).",
        f"{found['fertility']} tokens a word, {found['characters_per_token']} characters a token.",
        f"Boilerplate lines taken out: {found['edited_lines']}.",
        "",
        "## What was dropped, in the order of the steps",
        "",
        *table(["reason", "documents"], found["dropped"].items()),
        "",
        "## By source",
        "",
        *table(
            ["source", "kept", "dropped"],
            (
                [source, counts.get("kept", 0), reasons_text(counts)]
                for source, counts in found["by_source"].items()
            ),
        ),
        "",
        "## Licenses",
        "",
        *table(["source", "license", "commercial use"], license_rows(found["licenses"])),
        "",
        commercial_use(found["licenses"]),
        "",
        "## Personal data replaced",
        "",
        *table(["kind", "found"], found["personal_data"].items()),
        "",
        "## Length in tokens",
        "",
        *table(["from", "documents"], found["token_histogram"].items()),
    ]
    for name, examples in found["examples"].items():
        lines += ["", f"## Examples: {name}", ""]
        lines += [f"- {excerpt(example)}" for example in examples]
    return "\n".join(lines) + "\n"


def license_rows(licenses: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    said = {True: "allowed", False: "forbidden", None: "not known"}
    return [[one["source"], one["license"], said[one["commercial"]]] for one in licenses]


def commercial_use(licenses: Iterable[Mapping[str, Any]]) -> str:
    """Whether the result may be used commercially, as far as the licenses of its sources say."""
    found = {one["commercial"] for one in licenses}
    if False in found:
        return "The result may not be used commercially: the license of a source forbids it."
    if None in found:
        return "Not known whether the result may be used commercially: a source states no license."
    return "The licenses of all sources allow commercial use; their other terms still bind."


def reasons_text(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items() if name != "kept")


def excerpt(example: Mapping[str, str]) -> str:
    text = " ".join(example["text"].split())
    text = text if len(text) <= EXCERPT else text[:EXCERPT] + " ..."
    rule = f" ({example['rule']})" if example.get("rule") else ""
    return f"{example['source']}{rule}: {text}"


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """The lines of a Markdown table."""
    body = ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head), *body]


def corpus_sections(found: Mapping[str, Any]) -> list[Section]:
    """The page of the card, from its JSON."""
    documents, tokens = found["documents"], found["tokens"]
    sources = [
        [source, counts.get("kept", 0), reasons_text(counts)]
        for source, counts in found["by_source"].items()
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
        Rows("Licenses", ["source", "license", "commercial use"], license_rows(found["licenses"])),
        Words(commercial_use(found["licenses"])),
        Bars("Tokens of a kept document", found["token_histogram"], "tokens from"),
        Bars("Characters of a kept document", found["character_histogram"], "characters from"),
        Bars("Duplicates by cluster size", found["duplicate_clusters"], "documents"),
        Rows("Rules that dropped", ["rule", "documents"], found["rules"].items()),
        Rows("Personal data replaced", ["kind", "found"], found["personal_data"].items()),
        Rows("Evaluation text found", ["set", "documents"], found["contaminated_by"].items()),
        *(Examples(f"Examples: {name}", rows) for name, rows in found["examples"].items()),
    ]
