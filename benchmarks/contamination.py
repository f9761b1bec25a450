"""Which evaluation items the corpus rule finds, in which disguise, and what it finds wrongly.

    DIFFUTRON_DATA=... python -m benchmarks.contamination --json

Every item is planted in a document that is none of them. Without DIFFUTRON_DATA the built-in sets
and documents are taken. `--estimate` holds the estimate of false alarms that the stages make
against the alarms themselves, under ever looser rules: nearly all of those are false.
"""

import argparse
import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from html.entities import codepoint2name
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.parts.recombine import real_texts
from diffutron.config.data_params import ContaminationParams
from diffutron.config.params import load_params
from diffutron.config.section import TASKS
from diffutron.data.evaluation_sets.evaluation_sets import EvaluationSet, load_sets
from diffutron.data.evaluation_sets.findable import as_document, as_instruction
from diffutron.data.matching.decontaminate import Contamination, Item, items_of
from diffutron.data.matching.false_alarms import decoys
from diffutron.sample import documents
from diffutron.text.normalize import normalize
from diffutron.text.turkish import turkish_lower, turkish_upper

SEED = 13
HOST = 400  # characters before and after a planted item, at most
CHANGED = 10  # one word in so many is another one
CHANGED_FROM = 20  # words of an item whose words are changed
HYPHEN_EVERY = 6  # words, one is cut at the end of a line
PLAIN = str.maketrans("çğıöşüâîûÇĞİÖŞÜÂÎÛ", "cgiosuaiuCGIOSUAIU")
APOSTROPHES = "'’‘`´"
LOOSER: dict[str, dict[str, Any]] = {
    "as it is": {},
    "questions of 2 words, another field 200 words away": {
        "whole_fields": {"words": 2, "reach": 200}
    },
    "half of the words of the short fields": {"short_threshold": 0.5},
    "a tenth of the 4-grams": {"ngram": 4, "threshold": 0.1},
    "15 % of the 3-grams": {"ngram": 3, "threshold": 0.15},
    "a tenth of the 3-grams": {"ngram": 3, "threshold": 0.1},
}
SOME = 10_000  # documents that hosts are taken from, and that the rule is timed on


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("infra/profiles/demo.yaml"))
    parser.add_argument("--documents", type=int, help="clean ones that are searched; else all")
    parser.add_argument("--estimate", action="store_true", help="only the estimate, and alarms")
    parser.add_argument("--json", action="store_true", help="one object on standard output")
    options = parser.parse_args()
    data = os.environ.get("DIFFUTRON_DATA")
    rules = load_params(options.params).corpus.contamination
    run = estimates if options.estimate else measure
    said = run(Path(data) if data else None, rules, most=options.documents)
    print(json.dumps(said, ensure_ascii=False) if options.json else json.dumps(said, indent=1))


def read(data: Path | None) -> tuple[list[EvaluationSet], list[str]]:
    """The sets, and all documents in an order drawn by SEED."""
    sets, _ = load_sets(TASKS, source="local" if data else "sample", folder=data)
    texts = list(real_texts(data)) if data else [one["text"] for one in documents()]
    Random(SEED).shuffle(texts)
    return sets, texts


def all_items(sets: list[EvaluationSet]) -> list[Item]:
    return [item for one in sets for item in items_of(one.name, one.rows, one.task)]


def estimates(data: Path | None, rules: ContaminationParams, *, most: int | None) -> dict[str, Any]:
    """By rule: documents in which it finds an item, and those of the others with a decoy."""
    sets, texts = read(data)
    texts, items = list(map(normalize, texts[:most])), all_items(sets)
    found = {}
    for name, changes in LOOSER.items():
        changed = type(rules).model_validate(rules.model_dump() | changes)
        index, other = Contamination(items, changed), Contamination(decoys(items), changed)
        clean = [text for text in texts if index.find(text) is None]
        found[name] = {
            "alarms": len(texts) - len(clean),
            "estimated": sum(other.find(text) is not None for text in clean),
        }
    return {"documents": len(texts), "rules": found}


def measure(data: Path | None, rules: ContaminationParams, *, most: int | None) -> dict[str, Any]:
    sets, texts = read(data)
    started = time.process_time()
    index = Contamination(all_items(sets), rules)
    seconds = {"index": round(time.process_time() - started, 2)}
    hosts = [one for one in texts[:SOME] if len(one) > HOST and index.find(one) is None]
    planted = {one.name: plant(one, index, hosts) for one in sets}
    clean = {"corpus": texts[:most]}
    if data:
        clean |= {name: list(rows)[:most] for name, rows in other_rows(data).items()}
    alarms = {name: false_alarms(mine, index) for name, mine in clean.items()}
    some = [normalize(text) for text in texts[:SOME]]
    started = time.process_time()
    for text in some:
        index.find(text)
    seconds["us_per_document"] = round((time.process_time() - started) / len(some) * 1e6, 1)
    seconds["characters_per_document"] = round(sum(map(len, some)) / len(some))
    return {"sets": planted, "all": total(planted), "false_alarms": alarms, "seconds": seconds}


def plant(one: EvaluationSet, index: Contamination, hosts: list[str]) -> dict[str, Any]:
    """Of each form: how many items were planted, and found."""
    numbers = Random(SEED)
    pool = [word for host in hosts[:500] for word in host.split()]
    found: dict[str, list[int]] = {}
    for row in one.rows:
        text, name = normalize(as_document(row, one.task)), f"{one.name}:{row['row']}"
        forms = {form: change(text, numbers) for form, change in DISGUISES.items()}
        forms["verbatim"] = text
        if len(text.split()) >= CHANGED_FROM:
            forms["words_changed"] = with_changed_words(text, pool, numbers)
        said = {form: in_host(changed, hosts, numbers) for form, changed in forms.items()}
        said["instruction"] = as_instruction(row, one.task)
        for form, planted in said.items():
            found.setdefault(form, []).append(name in index.find_all(planted))
    return {form: {"planted": len(hit), "found": sum(hit)} for form, hit in sorted(found.items())}


def in_host(text: str, hosts: list[str], numbers: Random) -> str:
    before, after = numbers.choice(hosts)[:HOST], numbers.choice(hosts)[:HOST]
    return f"{before.rpartition(' ')[0]}\n{text}\n{after}"


def as_entities(text: str, _: Random) -> str:
    """All letters that are not ASCII, and all quotes, as HTML entities."""
    named = codepoint2name
    return "".join(
        f"&{named.get(ord(one), f'#{ord(one)}')};" if ord(one) > 127 or one in "\"'&" else one
        for one in text
    )


def other_apostrophes(text: str, numbers: Random) -> str:
    """Each apostrophe is another one, or is left out."""
    return "".join(numbers.choice(["", *APOSTROPHES]) if c in APOSTROPHES else c for c in text)


def cut_at_line_ends(text: str, numbers: Random) -> str:
    """Every few words, one is cut by a hyphen and the end of a line."""
    lines = text.split(" ")
    for place in range(numbers.randrange(HYPHEN_EVERY), len(lines), HYPHEN_EVERY):
        cut = re.sub(r"^(\w{3})(\w{2})", "\\1-\n\\2", lines[place])
        lines[place] = cut
    return " ".join(lines)


def with_changed_words(text: str, pool: list[str], numbers: Random) -> str:
    words = text.split()
    for place in numbers.sample(range(len(words)), len(words) // CHANGED):
        words[place] = numbers.choice(pool)
    return " ".join(words)


DISGUISES: dict[str, Callable[[str, Random], str]] = {
    "case": lambda text, numbers: numbers.choice(
        [str.upper, str.lower, str.title, turkish_upper, turkish_lower]
    )(text),
    "no_diacritics": lambda text, _: text.translate(PLAIN),
    "entities": as_entities,
    "apostrophes": other_apostrophes,
    "line_ends": cut_at_line_ends,
}


def total(planted: dict[str, Any]) -> dict[str, Any]:
    """Over all sets."""
    counts: dict[str, Counter[str]] = {}
    for forms in planted.values():
        for form, numbers in forms.items():
            counts.setdefault(form, Counter()).update(numbers)
    return {
        form: {**numbers, "share": round(numbers["found"] / max(numbers["planted"], 1), 4)}
        for form, numbers in sorted(counts.items())
    }


def other_rows(data: Path) -> dict[str, Iterator[str]]:
    """Instructions and essays."""

    def lines(folder: str, pattern: str) -> Iterator[str]:
        for path in sorted((data / folder).glob(pattern)):
            for line in path.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                yield "\n".join(value for value in row.values() if isinstance(value, str))

    return {"instruct": lines("instruct", "*.jsonl"), "writings": lines("writings", "*.jsonl")}


def false_alarms(texts: list[str], index: Contamination) -> dict[str, Any]:
    """Clean texts that are said to hold an item, and by which sets."""
    names = [name for text in texts if (name := index.find(normalize(text)))]
    by_set = Counter(name.rpartition(":")[0] for name in names)
    share = round(len(names) / max(len(texts), 1), 6)
    return {"texts": len(texts), "found": len(names), "share": share, "by_set": dict(by_set)}


if __name__ == "__main__":
    main()
