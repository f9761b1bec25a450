"""The data card of the corpus: what was read, what became of it, and what it looks like.

A card holds source text, so it is an output of the stage and never enters git.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from diffutron.data.card_page import Bars, Examples, Flow, Rows, Section, Words, page
from diffutron.data.fates import REASONS, SPLITS, Fates
from diffutron.data.local import Licence
from diffutron.data.privacy import KINDS
from diffutron.data.quarantine import Quarantine
from diffutron.outputs import write_json, write_text

KEPT_EXAMPLES = 20
DROPPED_EXAMPLES = 5
EXCERPT = 300  # characters of an example in the Markdown card
LENGTHS = (0, 8, 16, 32, 64, 128, 256, 512, 1024)
CHARACTERS = (0, 50, 100, 200, 400, 800, 1600, 3200, 6400)


def count_corpus(fates: Fates, quarantine: Quarantine, edited: Counter[str]) -> dict[str, Any]:
    """The counts of the corpus stage as plain JSON: its metrics, and the head of its card."""
    dropped = fates.reason.counts()
    dropped["bad_line"] = len(quarantine.bad)
    splits = {name: np.flatnonzero(fates.split.are(name)) for name in SPLITS}
    kept = np.concatenate(list(splits.values()))
    tokens = int(fates.num_tokens[kept].sum())
    inner = tokens - 2 * len(kept)  # begin and end tokens belong to no word
    return {
        "documents": {
            "read": quarantine.read,
            "kept": len(kept),
            **{name: len(members) for name, members in splits.items()},
        },
        "dropped": {reason: int(dropped[reason]) for reason in REASONS},
        "tokens": {
            "kept": tokens,
            **{name: int(fates.num_tokens[members].sum()) for name, members in splits.items()},
        },
        "words": int(fates.num_words[kept].sum()),
        "fertility": round(inner / max(int(fates.num_words[kept].sum()), 1), 4),
        "characters_per_token": round(int(fates.num_characters[kept].sum()) / max(inner, 1), 4),
        "edited_lines": edited["lines"],
        "personal_data": {kind: edited[kind] for kind in KINDS},
    }


def write_corpus_card(
    fates: Fates,
    counts: Mapping[str, Any],
    quarantine: Quarantine,
    licences: Iterable[Licence],
    out: Path,
    *,
    seed: int,
) -> None:
    """`card.json`, `card.md`, `card.html` and `bad_lines.jsonl` of a corpus folder."""
    kept = ~fates.split.are("")
    found = {
        **counts,
        "bad_lines": quarantine.report()["examples"],
        "licences": [asdict(one) for one in licences],
        "by_source": _by_source(fates),
        "rules": _rules(fates),
        "duplicate_clusters": {
            str(size): number for size, number in sorted(fates.cluster_sizes.items())
        },
        "contaminated_by": _contaminated(fates),
        "token_histogram": histogram(fates.num_tokens[kept]),
        "character_histogram": histogram(fates.num_characters[kept], CHARACTERS),
        "examples": _examples(fates, seed=seed),
    }
    write_json(out / "card.json", found)
    write_text(out / "card.md", _markdown(found))
    write_text(out / "card.html", page("Corpus", corpus_sections(found)))
    write_bad_lines(quarantine, out)


def write_bad_lines(quarantine: Quarantine, out: Path, *, name: str = "bad_lines.jsonl") -> None:
    """Where each line stands that could not be used, and why; absent when there is none."""
    if quarantine.bad:
        lines = [
            json.dumps({"file": bad.file, "line": bad.line, "why": bad.why}, ensure_ascii=False)
            for bad in quarantine.bad
        ]
        write_text(out / name, "\n".join(lines) + "\n")


def _rules(fates: Fates) -> dict[str, int]:
    """Dropped documents by the rule within a step that dropped them."""
    found = {
        f"{reason}: {rule}": number
        for reason in fates.reason.names
        if reason and reason != "contaminated"
        for rule, number in fates.rule.counts(fates.reason.are(reason)).items()
        if rule
    }
    return dict(sorted(found.items()))


def _by_source(fates: Fates) -> dict[str, dict[str, int]]:
    found = {}
    for source in sorted(fates.source.counts()):
        counts = fates.reason.counts(fates.source.are(source))
        found[source] = {
            reason or "kept": counts[reason] for reason in ("", *REASONS) if counts[reason]
        }
    return found


def _contaminated(fates: Fates) -> dict[str, int]:
    found: Counter[str] = Counter()
    for item, number in fates.rule.counts(fates.reason.are("contaminated")).items():
        found[item.split(":")[0]] += number
    return dict(sorted(found.items()))


def histogram(values: np.ndarray, lows: Sequence[int] = LENGTHS) -> dict[str, int]:
    """Documents by length: the lower bound of each bin and its count."""
    counts, _ = np.histogram(values, bins=[*lows, np.iinfo(np.int64).max])
    return {str(low): int(count) for low, count in zip(lows, counts, strict=True)}


def _examples(fates: Fates, *, seed: int) -> dict[str, list[dict[str, str]]]:
    """Documents drawn by a hash of their place: some kept ones, and some of each reason."""
    groups = {reason or "kept": fates.reason.are(reason) for reason in ("", *REASONS)}
    return {
        name: _drawn(
            fates,
            np.flatnonzero(members).tolist(),
            KEPT_EXAMPLES if name == "kept" else DROPPED_EXAMPLES,
            seed=seed,
        )
        for name, members in groups.items()
        if members.any()
    }


def _drawn(fates: Fates, members: Sequence[int], number: int, *, seed: int) -> list[dict[str, str]]:
    drawn = sorted(members, key=lambda place: hashlib.sha256(f"{seed}:{place}".encode()).digest())
    text = fates.texts()
    return [
        {"source": fates.source[index], "rule": fates.rule[index], "text": text(index)}
        for index in drawn[:number]
    ]


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
        "## Licences",
        "",
        *table(["source", "licence", "commercial use"], licence_rows(found["licences"])),
        "",
        commercial_use(found["licences"]),
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


def licence_rows(licences: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    said = {True: "allowed", False: "forbidden", None: "not known"}
    return [[one["source"], one["licence"], said[one["commercial"]]] for one in licences]


def commercial_use(licences: Iterable[Mapping[str, Any]]) -> str:
    """Whether the result may be used commercially, as far as the licences of its sources say."""
    found = {one["commercial"] for one in licences}
    if False in found:
        return "The result may not be used commercially: the licence of a source forbids it."
    if None in found:
        return "Not known whether the result may be used commercially: a source states no licence."
    return "The licences of all sources allow commercial use; their other terms still bind."


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
        Rows("Licences", ["source", "licence", "commercial use"], licence_rows(found["licences"])),
        Words(commercial_use(found["licences"])),
        Bars("Tokens of a kept document", found["token_histogram"], "tokens from"),
        Bars("Characters of a kept document", found["character_histogram"], "characters from"),
        Bars("Duplicates by cluster size", found["duplicate_clusters"], "documents"),
        Rows("Rules that dropped", ["rule", "documents"], found["rules"].items()),
        Rows("Personal data replaced", ["kind", "found"], found["personal_data"].items()),
        Rows("Evaluation text found", ["set", "documents"], found["contaminated_by"].items()),
        *(Examples(f"Examples: {name}", rows) for name, rows in found["examples"].items()),
    ]
