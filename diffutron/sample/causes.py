"""Causes and their effects in daily life, in many written forms."""

from dataclasses import dataclass
from random import Random

from diffutron.sample.lexicon import NAMES
from diffutron.sample.material import material
from diffutron.sample.phrases import phrase, reason
from diffutron.text.turkish import turkish_capitalize, word_list

TENSES = ("past", "narrative")
PEOPLE = ("3sg", "1sg")
TIMES = word_list(material("events")["causes"]["times"])
ADVERBS = tuple(material("events")["causes"]["adverbs"])


@dataclass(frozen=True)
class Pair:
    """A cause and its effect, written as phrases; pairs of one theme never compete."""

    theme: str
    cause: str
    effect: str


@dataclass(frozen=True)
class Telling:
    """Who and when a pair is told of: `subject` is a name, or empty for ben."""

    subject: str
    person: str
    tense: str
    time: str


PAIRS = tuple(
    Pair(*(part.strip() for part in line.split("=")))
    for line in material("events")["causes"]["pairs"].splitlines()
)


def random_telling(rng: Random) -> Telling:
    """Draw person, tense and time."""
    person, tense = rng.choice(PEOPLE), rng.choice(TENSES)
    return Telling(rng.choice(NAMES) if person == "3sg" else "", person, tense, rng.choice(TIMES))


def premise(spec: str, telling: Telling) -> str:
    """Return the first sentence: who, when, what."""
    words = phrase(spec, telling.tense, telling.person)
    return turkish_capitalize(f"{telling.subject} {telling.time} {words}.".strip())


def continuation(spec: str, telling: Telling, adverb: str = "") -> str:
    """Return what goes on about the same subject, without naming it and without a full stop."""
    return f"{adverb} {phrase(spec, telling.tense, telling.person)}".strip()


def told(rng: Random, pair: Pair) -> list[str]:
    """Return one or two sentences that tell cause and effect."""
    telling, adverb = random_telling(rng), rng.choice(ADVERBS)
    cause, effect = premise(pair.cause, telling), premise(pair.effect, telling)
    later = continuation(pair.effect, telling, adverb)
    earlier = continuation(pair.cause, telling, adverb)
    form = rng.randrange(4)
    if form == 0:
        return [cause, f"Bu yüzden {later}."]
    if form == 1:
        return [f"{cause[:-1]}, bu yüzden {later}."]
    if form == 2:
        return [f"{effect[:-1]}, çünkü {earlier}."]
    because = reason(pair.cause, telling.person)
    return [turkish_capitalize(f"{telling.subject} {because} {later}.".strip())]
