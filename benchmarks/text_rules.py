"""Language and personal data on real text: what is kept, what slips through, what is found wrongly.

DIFFUTRON_DATA=... python -m benchmarks.text_rules --documents 10000 --json
"""

import argparse
import json
import os
from collections import Counter
from pathlib import Path
from random import Random

from benchmarks.parts.planted import PLACEHOLDER, personal_data
from benchmarks.parts.recombine import real_texts
from diffutron.config.params import load_params
from diffutron.text.language import in_kept_language
from diffutron.text.normalize import normalize
from diffutron.text.privacy import KINDS, replace_personal_data

LONG = 5  # words of a text whose language is judged
CONTEXT = "Bilgi için {} adresine ya da numarasına başvurun, sonra bize haber verin."
EACH = 40  # of each form of personal data
SEED = 13


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--params", type=Path, default=Path("infra/profiles/demo.yaml"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    data = Path(os.environ["DIFFUTRON_DATA"])
    texts = [normalize(text) for text in real_texts(data)]
    Random(SEED).shuffle(texts)
    said = {**language(texts, data, options), **privacy(texts[: options.documents])}
    print(json.dumps(said, ensure_ascii=False) if options.json else json.dumps(said, indent=1))


def language(texts: list[str], data: Path, options: argparse.Namespace) -> dict:
    """Shares of real Turkish kept and of other languages let through, by number of words."""
    rules = load_params(options.params).corpus.language.model_copy(update={"kept": ["tr"]})
    long = [text for text in texts if len(text.split()) >= LONG][: options.documents]
    kept = sum(in_kept_language(text, rules) for text in long)
    path = data / "lang" / "other_languages.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if len(row["text"].split()) >= LONG]
    through = [row["lang"] for row in rows if in_kept_language(normalize(row["text"]), rules)]
    return {
        "turkish": {"texts": len(long), "kept": kept, "share": round(kept / len(long), 5)},
        "others": {
            "texts": len(rows),
            "let_through": len(through),
            "share": round(len(through) / len(rows), 5),
            "languages": dict(Counter(through)),
        },
    }


def privacy(texts: list[str]) -> dict:
    """What is found in real documents, and the planted forms of each kind that are found."""
    wrong = Counter()
    for text in texts:
        wrong.update(replace_personal_data(text)[1].keys())
    numbers, planted, found = Random(SEED), Counter(), Counter()
    for kind in KINDS:
        for _ in range(EACH):
            for form, secret in enumerate(personal_data(kind, numbers)):
                plain, _ = replace_personal_data(CONTEXT.format(secret))
                held = secret.strip('(),"') in plain or PLACEHOLDER[kind] not in plain
                planted[kind] += 1
                found[kind] += not held
                if held:
                    found[f"missed: {kind} form {form}"] += 1
    return {
        "real_documents": len(texts),
        "with_personal_data": dict(wrong),
        "planted": dict(planted),
        "found": dict(found),
    }


if __name__ == "__main__":
    main()
