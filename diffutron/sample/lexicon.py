"""The words of the sample (`words.toml`), as nouns and verbs that can be inflected."""

from functools import cache

from diffutron.sample.material import material
from diffutron.sample.morphology import Noun, Verb
from diffutron.text.turkish import word_list

_WORDS = material("words")
NAMES = word_list(_WORDS["names"])
CORE_NOUNS = word_list(_WORDS["core_nouns"])
CORE_VERBS = word_list(_WORDS["core_verbs"])
ADJECTIVES = word_list(_WORDS["adjectives"])
COLORS = word_list(_WORDS["colors"])
NUMBERS = word_list(_WORDS["numbers"])
COUNTRIES: dict[str, str] = _WORDS["countries"]


def _noun(entry: str) -> Noun:
    lemma, _, soft = entry.partition(">")
    return Noun(lemma.rstrip("!"), soft=soft, front=lemma.endswith("!"))


@cache
def nouns() -> dict[str, Noun]:
    """Return every common noun by lemma."""
    entries = (entry for block in _WORDS["nouns"].values() for entry in block.split())
    return {noun.lemma: noun for noun in map(_noun, entries)}


@cache
def nouns_of(kind: str) -> tuple[str, ...]:
    """Return the lemmas of one kind of noun, as listed."""
    return tuple(_noun(entry).lemma for entry in _WORDS["nouns"][kind].split())


@cache
def verbs() -> dict[str, Verb]:
    """Return every verb by stem."""
    parts = (entry.partition(">") for entry in word_list(_WORDS["verbs"]))
    return {stem: Verb(stem, soft=soft) for stem, _, soft in parts}


@cache
def proper_nouns() -> dict[str, Noun]:
    """Return names of persons, countries, capitals and continents by lemma."""
    places = [word for place in COUNTRIES.values() for word in place.split()]
    lemmas = [*NAMES, *COUNTRIES, *places]
    return {lemma: Noun(lemma, proper=True) for lemma in lemmas}


def noun(lemma: str) -> Noun:
    """Return the noun or proper noun `lemma`; KeyError when the lexicon has none."""
    return nouns().get(lemma) or proper_nouns()[lemma]
