"""Every word form that the grammar of the sample can make: what counts as a valid word."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import product

from diffutron.sample import causes, facts, moods, news, running_text, scenes, tasks
from diffutron.sample.lexicon import ADJECTIVES, COLORS, NUMBERS, nouns, proper_nouns, verbs
from diffutron.sample.material import material
from diffutron.sample.morphology import (
    CASES,
    NONFINITE,
    PERSONS,
    TENSES,
    Noun,
    Verb,
    attach,
    because,
    copula,
    imperative,
    nonfinite,
    noun_form,
    past_copula,
    verb_form,
)
from diffutron.sample.partition import FUNCTION_WORDS, words
from diffutron.text.turkish import turkish_lower


def _noun_forms(noun: Noun) -> Iterator[str]:
    if noun.proper:
        yield from (noun_form(noun, case) for case in CASES)
        yield f"{noun.lemma}'{copula(noun.lemma)[len(noun.lemma) :]}"
        return
    for case, plural, owner in product(CASES, (False, True), (None, *PERSONS)):
        yield noun_form(noun, case, plural=plural, possessor=owner)
    locative = noun_form(noun, "loc")
    yield from (copula(noun.lemma), copula(locative), attach(locative, "(y)DI"))


def _verb_forms(verb: Verb) -> Iterator[str]:
    for tense, person, negative in product(TENSES, PERSONS, (False, True)):
        yield verb_form(verb, tense, person, negative=negative)
        yield from verb_form(verb, tense, person, negative=negative, question=True).split()
    for negative in (False, True):
        yield from (nonfinite(verb, kind, negative=negative) for kind in NONFINITE)
        yield from (because(verb, person, negative=negative) for person in PERSONS)
        yield imperative(verb, negative=negative)


def _frame_words() -> Iterator[str]:
    """Yield the words that stand in wordings and phrases as they are."""
    texts = [
        material("words")["frames"],
        *moods.PRAISE,
        *moods.BLAME,
        *moods.TIMES,
        *causes.ADVERBS,
        *scenes.TIMES,
    ]
    texts += [*tasks.RELATION_LABELS, *tasks.SIMILARITY_LABELS, *news.LABELS]
    texts += [*running_text.CASE_NAMES.values(), *running_text.TENSE_NAMES.values()]
    texts += [q for fact in facts.facts() for q in facts.questions(fact)]
    texts += [s for fact in facts.facts() for s in facts.statements(fact)]
    specs = [spec for pair in causes.PAIRS for spec in (pair.cause, pair.effect)]
    specs += [*moods.BAD, *moods.GOOD, *(deed for t in news.TOPICS.values() for deed in t[2])]
    texts += [w for spec in specs for w in spec.split()[:-1] if ":" not in w]
    for text in texts:
        yield from words(text)


@lru_cache(maxsize=1)
def inflected_forms() -> tuple[str, ...]:
    """Return the forms of common nouns and verbs, sorted."""
    forms = {form for noun in nouns().values() for form in _noun_forms(noun)}
    forms.update(form for verb in verbs().values() for form in _verb_forms(verb) if " " not in form)
    return tuple(sorted(forms))


@lru_cache(maxsize=1)
def word_forms() -> frozenset[str]:
    """Return every form, in Turkish lower case."""
    forms: set[str] = {*FUNCTION_WORDS, *COLORS, *NUMBERS, *_frame_words()}
    forms.update(inflected_forms())
    for name in proper_nouns().values():
        forms.update(_noun_forms(name))
    for word in (*ADJECTIVES, *COLORS):
        forms.update((word, copula(word), *(past_copula(word, person) for person in PERSONS)))
    return frozenset(map(turkish_lower, forms))


def is_word(word: str) -> bool:
    """Return whether `word`, in any case and with either apostrophe, is a form of the grammar."""
    return turkish_lower(word.replace("\u2019", "'")) in word_forms()
