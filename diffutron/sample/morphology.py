"""Turkish inflection: nouns, verbs, copulas, as pure functions of a lexeme and its features.

A suffix is written with archiphonemes: ``A`` = a/e, ``I`` = ı/i/u/ü, ``D`` = d/t; a letter in
brackets at the start is a buffer: a consonant one stands after a vowel, a vowel one after a
consonant. What a lexeme does beyond the rules (kitap/kitab-, saat/saati, şehir/şehr-) is marked
in the lexicon, because no rule predicts it (grup/grubu but top/topu).
Source of the rules: any reference grammar, e.g. Göksel and Kerslake, *Turkish*, chapters 2 to 8.
"""

from dataclasses import dataclass
from functools import cache

from diffutron.text.turkish import VOWELS, word_list

_BACK, _ROUND, _VOICELESS = "aıou", "oöuü", "fstkçşhp"
_FRONTED = {"a": "e", "ı": "i", "o": "ö", "u": "ü"}

CASES = ("nom", "acc", "dat", "loc", "abl", "gen", "ins")
PERSONS = ("1sg", "2sg", "3sg", "1pl", "2pl", "3pl")
TENSES = ("present", "past", "narrative", "future", "aorist", "necessity", "conditional")

_CASE = {
    "nom": "", "acc": "(y)I", "dat": "(y)A", "loc": "DA", "abl": "DAn", "gen": "(n)In",
    "ins": "(y)lA",
}  # fmt: skip
# After a third person possessive the pronominal n stands before the case: evi-n-de.
_CASE_AFTER_3 = {**_CASE, "acc": "nI", "dat": "nA", "loc": "nDA", "abl": "nDAn", "gen": "nIn"}
_POSSESSIVE = {
    "1sg": "(I)m", "2sg": "(I)n", "3sg": "(s)I", "1pl": "(I)mIz", "2pl": "(I)nIz", "3pl": "lArI",
}  # fmt: skip
_Z_ENDING = {
    "1sg": "(y)Im", "2sg": "sIn", "3sg": "", "1pl": "(y)Iz", "2pl": "sInIz", "3pl": "lAr",
}  # fmt: skip
_K_ENDING = {"1sg": "m", "2sg": "n", "3sg": "", "1pl": "k", "2pl": "nIz", "3pl": "lAr"}
# Monosyllables whose aorist takes -Ir where the rule says -Ar.
_AORIST_I = frozenset(word_list("al bil bul dur gel gör kal ol öl san var ver vur"))


@dataclass(frozen=True)
class Noun:
    """A noun: `soft` is its form before a vowel (kitab-); `front` marks saat, gol, festival."""

    lemma: str
    soft: str = ""
    front: bool = False
    proper: bool = False


@dataclass(frozen=True)
class Verb:
    """A verb by its stem; `soft` is the stem before a vowel (git, gid-)."""

    stem: str
    soft: str = ""


def last_vowel(word: str) -> str:
    """Return the last vowel of `word`, ``e`` where it has none (d-iyor)."""
    return next((c for c in reversed(word) if c in VOWELS), "e")


def syllables(word: str) -> int:
    """Return the number of vowels of `word`."""
    return sum(c in VOWELS for c in word)


def _harmonise(letter: str, vowel: str) -> str:
    back = vowel in _BACK
    if letter == "A":
        return "a" if back else "e"
    if vowel in _ROUND:
        return "u" if back else "ü"
    return "ı" if back else "i"


def attach(stem: str, suffix: str, *, soft: str = "", front: bool = False) -> str:
    """Return `stem` + `suffix`: buffer, softening, vowel harmony and d/t assimilation."""
    if suffix.startswith("("):
        buffer, rest = suffix[1], suffix[3:]
        wants_vowel_stem = buffer not in "AI"
        suffix = buffer + rest if (stem[-1] in VOWELS) == wants_vowel_stem else rest
    if soft and suffix[:1] in ("A", "I"):
        stem = soft
    vowel = last_vowel(stem)
    vowel = _FRONTED.get(vowel, vowel) if front else vowel
    out = stem
    for letter in suffix:
        if letter in "AI":
            letter = vowel = _harmonise(letter, vowel)
        elif letter == "D":
            letter = "t" if out[-1] in _VOICELESS else "d"
        elif letter in VOWELS:
            vowel = letter
        out += letter
    return out


def _soft_form(noun: Noun) -> str:
    """Return the marked soft stem; long words in -k have one by rule (çocuk, çocuğ-)."""
    if noun.soft or noun.proper:
        return noun.soft
    if noun.lemma[-1] == "k" and noun.lemma[-2] in VOWELS and syllables(noun.lemma) > 1:
        return noun.lemma[:-1] + "ğ"
    return ""


def _attach_first(noun: Noun, suffix: str) -> str:
    """Attach the first suffix after the bare noun, where the marks of the lexicon count."""
    stem, soft = noun.lemma, _soft_form(noun)
    if noun.soft and stem[-1] in VOWELS and suffix[:3] in ("(n)", "(s)", "(I)"):
        stem = soft  # su: suyu, suyun, suyum
    if noun.proper:
        tail = attach(stem, suffix, front=noun.front)[len(stem) :]
        return f"{stem}'{tail}"
    return attach(stem, suffix, soft=soft, front=noun.front)


@cache
def noun_form(
    noun: Noun, case: str = "nom", *, plural: bool = False, possessor: str | None = None
) -> str:
    """Return the noun in `case` (one of CASES), plural, with a possessor (one of PERSONS)."""
    suffixes = ["lAr"] if plural else []
    if possessor:
        suffixes.append("I" if plural and possessor == "3pl" else _POSSESSIVE[possessor])
    table = _CASE_AFTER_3 if possessor in ("3sg", "3pl") else _CASE
    if table[case]:
        suffixes.append(table[case])
    form = noun.lemma
    for position, suffix in enumerate(suffixes):
        form = _attach_first(noun, suffix) if position == 0 else attach(form, suffix)
    return form


def _aorist(verb: Verb, negative: bool) -> str:
    if negative:
        return attach(verb.stem, "mAz")
    if verb.stem[-1] in VOWELS:
        return verb.stem + "r"
    narrow = syllables(verb.stem) > 1 or verb.stem in _AORIST_I
    # Compounds of etmek (kaybet, affet) keep its aorist: kaybeder.
    narrow = narrow and not verb.soft.endswith("ed")
    return attach(verb.stem, "Ir" if narrow else "Ar", soft=verb.soft)


def vowel_stem(verb: Verb) -> str:
    """Return the stem before a suffix with buffer y: de and ye narrow (diyecek, yiyen)."""
    return {"de": "di", "ye": "yi"}.get(verb.stem, verb.stem)


def _tense_stem(verb: Verb, tense: str, negative: bool) -> str:
    if tense == "present" and negative:
        return attach(verb.stem, "mIyor")
    if tense == "present" and verb.stem[-1] in "ae":  # ara: arıyor
        return attach(verb.stem[:-1], "Iyor")
    if tense == "present":
        suffix = "yor" if verb.stem[-1] in VOWELS else "Iyor"
        return attach(verb.stem, suffix, soft=verb.soft)
    if tense == "aorist":
        return _aorist(verb, negative)
    stem = attach(verb.stem, "mA") if negative else verb.stem
    if tense == "future":
        narrowed = stem if negative else vowel_stem(verb)
        return attach(narrowed, "(y)AcAk", soft="" if negative else verb.soft)
    suffix = {"past": "DI", "narrative": "mIş", "necessity": "mAlI", "conditional": "sA"}[tense]
    return attach(stem, suffix)


def _finite(stem: str, tense: str, person: str, negative: bool) -> str:
    if tense in ("past", "conditional"):
        return attach(stem, _K_ENDING[person])
    if tense == "aorist" and negative and person in ("1sg", "1pl"):
        return attach(stem[:-1], "m" if person == "1sg" else "(y)Iz")  # gelmem, gelmeyiz
    soft = stem[:-1] + "ğ" if tense == "future" else ""
    return attach(stem, _Z_ENDING[person], soft=soft)


def particle(word: str, person: str = "3sg") -> str:
    """Return the question particle that follows `word`: mı, misin, muyuz ..."""
    return attach(word, "mI" + _Z_ENDING[person].replace("(y)", "y"))[len(word) :]


@cache
def verb_form(
    verb: Verb,
    tense: str = "past",
    person: str = "3sg",
    *,
    negative: bool = False,
    question: bool = False,
) -> str:
    """Return the finite verb: tense of TENSES, person of PERSONS; a question is two words."""
    stem = _tense_stem(verb, tense, negative)
    if not question:
        return _finite(stem, tense, person, negative)
    if tense in ("past", "conditional") or person in ("3sg", "3pl"):
        word = _finite(stem, tense, person, negative)
        return f"{word} {particle(word)}"
    return f"{stem} {particle(stem, person)}"


_NONFINITE = {
    "infinitive": "mAk", "participle": "(y)An", "after": "DIktAn", "joining": "(y)Ip",
    "while": "(y)ArAk", "when": "(y)IncA", "without": "mAdAn", "verbal": "mA", "nominal": "DIk",
}  # fmt: skip
NONFINITE = tuple(_NONFINITE)


@cache
def nonfinite(verb: Verb, kind: str, *, negative: bool = False) -> str:
    """Return a form without person: okumak, okuyan, okuyup, okuyunca, okumadan ..."""
    suffix = _NONFINITE[kind]
    stem = verb.stem if suffix[0] != "(" else vowel_stem(verb)
    if negative:
        return attach(attach(verb.stem, "mA"), suffix)
    return attach(stem, suffix, soft=verb.soft)


@cache
def because(verb: Verb, person: str, *, negative: bool = False) -> str:
    """Return the -DIk form with a possessor, as in ``geldiği için``."""
    stem = nonfinite(verb, "nominal", negative=negative)
    return attach(stem, _POSSESSIVE[person], soft=stem[:-1] + "ğ")


def imperative(verb: Verb, *, negative: bool = False) -> str:
    """Return the imperative of the second person singular: git, gitme."""
    return attach(verb.stem, "mA") if negative else verb.stem


def copula(word: str) -> str:
    """Return `word` with the copula -DIr (sarıdır, büyüktür)."""
    return attach(word, "DIr")


def past_copula(word: str, person: str = "3sg") -> str:
    """Return `word` with the past copula (hastaydı, mutluyduk)."""
    return attach(attach(word, "(y)DI"), _K_ENDING[person])
