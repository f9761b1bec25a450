"""Short written forms of verb phrases, and the words that they stand for.

A phrase is a line such as ``palto:my.acc unut`` or ``yağmur:loc ıslan``: nouns with features
(pl, my = possessed by the subject, its = by somebody, a case), plain words as they are, and a
verb stem at the end (``ye!`` = negative).
"""

from functools import cache

from diffutron.sample.lexicon import noun, verbs
from diffutron.sample.morphology import CASES, because, noun_form, verb_form


@cache
def _word(token: str, person: str) -> str:
    lemma, _, features = token.partition(":")
    if not features:
        return token
    marks = features.split(".")
    case = next((m for m in marks if m in CASES), "nom")
    possessor = person if "my" in marks else "3sg" if "its" in marks else None
    possessor = "3sg" if possessor == "3pl" else possessor  # onlar ellerini, not "ellerlerini"
    return noun_form(noun(lemma), case, plural="pl" in marks, possessor=possessor)


def _verb(token: str) -> tuple[str, bool]:
    return token.rstrip("!"), token.endswith("!")


@cache
def phrase(spec: str, tense: str = "past", person: str = "3sg", *, flip: bool = False) -> str:
    """Return the verb phrase `spec` for a tense and person; `flip` negates it."""
    *front, last = spec.split()
    stem, negative = _verb(last)
    verb = verb_form(verbs()[stem], tense, person, negative=negative != flip)
    return " ".join([*(_word(token, person) for token in front), verb])


@cache
def reason(spec: str, person: str = "3sg") -> str:
    """Return the phrase as a reason: ``paltosunu unuttuğu için``."""
    *front, last = spec.split()
    stem, negative = _verb(last)
    form = because(verbs()[stem], person, negative=negative)
    return " ".join([*(_word(token, person) for token in front), form, "için"])
