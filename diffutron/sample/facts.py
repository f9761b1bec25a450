"""Common knowledge as relations, each asked and told in several wordings.

A fact's wordings have different content words, so `partition.side` gives some of them to training
and some to evaluation: what an exam asks was learned in other words.
"""

from dataclasses import dataclass
from functools import cache

from diffutron.sample.lexicon import ADJECTIVES, COUNTRIES, noun, nouns_of
from diffutron.sample.material import material
from diffutron.sample.morphology import copula, noun_form
from diffutron.text.turkish import turkish_capitalize


@dataclass(frozen=True)
class Relation:
    """Subjects with their answers; questions and statements with slots for inflected forms."""

    name: str
    answers: dict[str, str]
    questions: tuple[str, ...]
    statements: tuple[str, ...]


@dataclass(frozen=True)
class Fact:
    """One subject of a relation and its answer."""

    relation: str
    subject: str
    answer: str


def _following(kind: str) -> dict[str, str]:
    names = nouns_of(kind)
    return {name: names[(i + 1) % len(names)] for i, name in enumerate(names)}


def _derived() -> dict[str, dict[str, str]]:
    """Return subject and answer of the relations whose answers stand in the lexicon."""
    countries = {name: value.split() for name, value in COUNTRIES.items()}
    opposites = list(zip(ADJECTIVES[:44:2], ADJECTIVES[1:44:2], strict=True))
    return {
        "başkent": {name: capital for name, (capital, _) in countries.items() if capital != name},
        "kıta": {name: continent for name, (_, continent) in countries.items()},
        "karşıt": dict(opposites) | {b: a for a, b in opposites},
        "sonraki ay": _following("ay_adı"),
        "sonraki gün": _following("gün_adı"),
    }


@cache
def relations() -> dict[str, Relation]:
    """Return every relation by name."""
    found: dict[str, Relation] = {}
    for name, written in material("facts").items():
        answers = {
            subject: answer
            for answer, subjects in written.get("answers", {}).items()
            for subject in subjects.split()
        }
        wordings = (tuple(written[kind].splitlines()) for kind in ("questions", "statements"))
        found[name] = Relation(name, answers or _derived()[name], *wordings)
    return found


@cache
def facts() -> tuple[Fact, ...]:
    """Return every fact."""
    return tuple(Fact(r.name, s, a) for r in relations().values() for s, a in r.answers.items())


def _inflected(word: str) -> dict[str, str]:
    try:
        lexeme = noun(word)
    except KeyError:  # an adjective: its wordings use no case
        return dict.fromkeys(("gen", "acc", "loc", "abl"), word)
    return {case: noun_form(lexeme, case) for case in ("gen", "acc", "loc", "abl")}


def _write(wording: str, fact: Fact) -> str:
    subject, answer = _inflected(fact.subject), _inflected(fact.answer)
    told = copula(fact.answer)
    if fact.answer[0].isupper():
        told = f"{fact.answer}'{told[len(fact.answer) :]}"
    slots = {"s": fact.subject, "a": fact.answer, "a_dir": told}
    slots |= subject | {f"a_{case}": form for case, form in answer.items()}
    slots |= {turkish_capitalize(key): turkish_capitalize(value) for key, value in slots.items()}
    return wording.format(**slots)


@cache
def questions(fact: Fact) -> tuple[str, ...]:
    """Return every wording of the question that asks for the fact's answer."""
    return tuple(_write(w, fact) for w in relations()[fact.relation].questions)


@cache
def statements(fact: Fact) -> tuple[str, ...]:
    """Return every sentence that tells the fact."""
    return tuple(_write(w, fact) for w in relations()[fact.relation].statements)
