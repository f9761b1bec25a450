"""The running text of the sample: short documents of several kinds, and held-out essays."""

from collections.abc import Callable
from random import Random

from diffutron.sample import running_text
from diffutron.sample.lexicon import NAMES, proper_nouns
from diffutron.sample.partition import ESSAY, TRAINING, side, words
from diffutron.sample.reserved import holds_item, item_words
from diffutron.sample.tasks import quiz
from diffutron.sample.words import inflected_forms
from diffutron.text.turkish import turkish_capitalize

NUM_SENTENCES = 30_000
NUM_ESSAYS = 80

Paragraph = Callable[[Random], list[running_text.Unit]]
# source: (group, share of the sentences, paragraphs that it is made of)
_SOURCES: dict[str, tuple[str, float, Paragraph]] = {
    "ansiklopedi": ("wiki", 0.15, running_text.article),
    "sozluk": ("wiki", 0.07, running_text.word_entry),
    "haber": ("web", 0.13, running_text.report),
    "oyku": ("web", 0.30, running_text.story),
    "gunluk": ("web", 0.22, running_text.diary),
    "sohbet": ("forum", 0.05, running_text.chat),
}
# The rest: quizzes (source "test") and lists of rarer forms of words, as a dictionary has them.
NUM_QUIZZES = 600
NUM_FORMS = 10_500
SOURCES = {source: group for source, (group, _, _) in _SOURCES.items()}


def _sentences(rng: Random, paragraph: Paragraph, wanted: str, count: int) -> list[str]:
    """Draw paragraphs and keep their units of the `wanted` side, none of them twice.

    One-word answers go with their question, and into no essay.
    """
    kept: list[str] = []
    while len(kept) < count:
        for unit in paragraph(rng):
            fits = (side(s) == wanted if " " in s else wanted == TRAINING for s in unit)
            if len(kept) < count and unit[0] not in kept and all(fits):
                kept += unit
    return kept


def documents(seed: int = 13) -> list[dict[str, str]]:
    """Return about 30 000 sentences as documents of 3 to 8: text, source, group.

    Deterministic in `seed`. No sentence is one of an evaluation set or of an essay, whatever
    their seed; no text holds all content words of an evaluation item of the same seed, items that
    ask for knowledge apart.
    """
    rows: list[dict[str, str]] = []
    for source, (group, share, paragraph) in _SOURCES.items():
        rng = Random(f"documents {source} {seed}")
        left = round(NUM_SENTENCES * share)
        while left > 0:
            sentences = _sentences(rng, paragraph, TRAINING, rng.randint(3, 6))
            text = " ".join(sentences)
            if not holds_item(text, seed):
                rows.append({"text": text, "source": source, "group": group})
                left -= len(sentences)
    rng = Random(f"quizzes {seed}")
    quizzes = dict.fromkeys(quiz(rng, seed) for _ in range(NUM_QUIZZES))
    rows += [{"text": text, "source": "test", "group": "forum"} for text in quizzes]
    rows += _word_lists(seed, {word for row in rows for word in words(row["text"])})
    Random(f"documents {seed}").shuffle(rows)
    return rows


def _word_lists(seed: int, known: set[str]) -> list[dict[str, str]]:
    """Return dictionary documents of forms that are not `known`, five in a sentence.

    They hold every word of the evaluation items that is missing, and rarer forms up to NUM_FORMS
    different ones, so that a small vocabulary cannot hold the words of the sample whole.
    """
    rng = Random(f"word lists {seed}")
    names = {word: turkish_capitalize(word) for word in sorted(item_words(seed) - known)}
    missing = [n if n.split("'")[0] in proper_nouns() else word for word, n in names.items()]
    rare = [form for form in inflected_forms() if form not in known]
    listed = missing + rng.sample(rare, max(0, NUM_FORMS - len(known) - len(missing)))
    lines = []
    for start in range(0, len(listed), 5):
        forms = listed[start : start + 5]
        line = f"Örnekler {', '.join(forms)} olur."
        while side(line) != TRAINING:  # a name may make it a sentence for training
            line = f"Örnekler {', '.join([*forms, rng.choice(NAMES)])} olur."
        lines.append(line)
    texts = (" ".join(lines[i : i + 6]) for i in range(0, len(lines), 6))
    return [{"text": text, "source": "sozluk", "group": SOURCES["sozluk"]} for text in texts]


_TITLES = ("Bir gün", "Bizim köy", "Küçük bir öykü", "Geçen hafta", "Yolda", "Evde ve okulda")


def essays(seed: int = 13) -> list[dict[str, str]]:
    """Return held-out essays (text, title, source); no sentence of them is in `documents`."""
    rng = Random(f"essays {seed}")
    rows = []
    for number in range(1, NUM_ESSAYS + 1):
        sentences: list[str] = []
        for kind in rng.sample(sorted(_SOURCES), 4):
            sentences += _sentences(rng, _SOURCES[kind][2], ESSAY, rng.randint(2, 4))
        title = f"{rng.choice(_TITLES)} {number}"
        rows.append({"text": " ".join(sentences), "title": title, "source": "deneme"})
    return rows
