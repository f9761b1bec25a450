"""Rows, prompts, choices and targets of the seven tasks, as KUIS-AI/cetvel words them.

The task files name them as `!function prompts.NAME`, so lm-eval's own command line uses them too.
Plain functions instead of templates: lm-eval compiles a template anew for each item, about 1 ms.
"""

from bisect import bisect_right
from pathlib import Path
from typing import Any

from diffutron.text.turkish import turkish_lower

Doc = dict[str, Any]
STS_BOUNDS = (0.5, 1.5, 2.5, 3.5, 4.5)  # a score on a bound falls into the upper bucket
NEWS_LABELS = ("sport", "magazine", "politics", "health", "economy")
XCOPA_LINK = {"cause": "çünkü", "effect": "bu yüzden"}


def rows(
    task: str,
    source: str = "sample",
    folder: str | None = None,
    sets: dict[str, list[Doc]] | None = None,
    **_: Any,
) -> dict[str, Any]:
    """lm-eval's `custom_dataset`: `{"test": rows}`, handed over in `sets` or read here.

    On lm-eval's own command line: `--metadata '{"source": "local", "folder": "..."}'`.
    """
    from datasets import Dataset

    if sets is None:
        from diffutron.data.evaluation_sets.evaluation_sets import load_rows

        place = Path(folder) if folder else None
        loaded = load_rows(task, source=source, folder=place).rows
    else:
        loaded = sets[task]
    return {"test": Dataset.from_list(loaded)}


def belebele_text(doc: Doc) -> str:
    options = "\n".join(f"{letter}: {doc[f'mc_answer{n}']}" for n, letter in enumerate("ABCD", 1))
    return f"P: {doc['flores_passage']}\nQ: {doc['question'].strip()}\n{options}\nAnswer:"


def belebele_target(doc: Doc) -> int:
    return int(doc["correct_answer_num"]) - 1


def exams_text(doc: Doc) -> str:
    return doc["question"]["stem"]


def exams_choices(doc: Doc) -> list[str]:
    return doc["question"]["choices"]["text"]


def exams_target(doc: Doc) -> int:
    """The index of the key; 3 where the key is no label, as the published task has it."""
    labels, key = doc["question"]["choices"]["label"], doc["answerKey"].strip()
    return labels.index(key) if key in labels else 3


def irony_text(doc: Doc) -> str:
    """Ends in a line break, which the scorer has to move to the choice."""
    return f"Cümle: {doc['text']}\nSoru: Bu cümlede ironi var mı?\n"


def news_text(doc: Doc) -> str:
    return f"Cümle: {doc['text']}\nSoru: Bu cümlenin konusu nedir?\n Cevap:"


def news_target(doc: Doc) -> int:
    return NEWS_LABELS.index(doc["label"])


def mnli_text(doc: Doc) -> str:
    pair = _two_sentences(doc["premise"], doc["hypothesis"])
    return f"{pair}Bu iki cümle arasındaki ilişki nedir:"


def sts_text(doc: Doc) -> str:
    pair = _two_sentences(doc["sentence1"], doc["sentence2"])
    return f"{pair}Bu iki cümle arasında ne kadar benzerlik vardır:"


def _two_sentences(first: str, second: str) -> str:
    return f'Aşağıda iki cümle verilmektedir:\n\nCümle 1: "{first}"\nCümle 2: "{second}"\n\n'


def sts_target(doc: Doc) -> int:
    return bisect_right(STS_BOUNDS, doc["score"])


def xcopa_text(doc: Doc) -> str:
    return f"{doc['premise'].strip()[:-1]} {XCOPA_LINK[doc['question']]}"


def xcopa_choices(doc: Doc) -> list[str]:
    return [turkish_lower_first(doc["choice1"]), turkish_lower_first(doc["choice2"])]


def xcopa_choices_cetvel(doc: Doc) -> list[str]:
    """With Python's casing, as published: `İ` becomes `i` and U+0307, `I` becomes `i`."""
    return [doc[name][0].lower() + doc[name][1:] for name in ("choice1", "choice2")]


def turkish_lower_first(text: str) -> str:
    """Lower-case the first letter by the Turkish rule: `İ` to `i`, `I` to `ı`."""
    head = 2 if text[1:2] == "\u0307" else 1  # a decomposed `İ` is one letter
    return turkish_lower(text[:head]) + text[head:]
