"""Paragraphs of the sample by kind, as units: sentences that must stand or fall together."""

from random import Random

from diffutron.sample import causes, facts, moods, news
from diffutron.sample.lexicon import CORE_NOUNS, CORE_VERBS, NAMES, noun, nouns_of, verbs
from diffutron.sample.material import material
from diffutron.sample.morphology import PERSONS, TENSES, Noun, Verb, nonfinite, noun_form, verb_form
from diffutron.sample.partition import told_in_text
from diffutron.sample.scenes import (
    TIMES,
    Scene,
    change,
    location_sentence,
    questions,
    random_scene,
    yes_no_question,
)
from diffutron.text.turkish import turkish_capitalize, word_list

_NAMES = material("words")["grammar"]
CASE_NAMES: dict[str, str] = _NAMES["cases"]
TENSE_NAMES: dict[str, str] = _NAMES["tenses"]
_PRONOUNS: dict[str, str] = _NAMES["pronouns"]
_OWNERS: dict[str, str] = _NAMES["owners"]
# What can be done with or at any concrete thing.
_TAKES_OBJECT = word_list("gör iste sev ara bul unut hatırla göster getir bırak çiz koru özle seç")
_GOES = word_list("git gel çık dön gir bak koş yürü")


Unit = list[str]


def article(rng: Random) -> list[Unit]:
    """Tell two things of an encyclopedia, each in two wordings, or asked and answered."""
    units: list[Unit] = []
    for _ in range(2):
        fact = rng.choice(facts.facts())
        told = [[sentence] for sentence in facts.statements(fact)]
        answer = turkish_capitalize(fact.answer) + "."
        told += [[q, answer] for q in facts.questions(fact) if told_in_text(q)]
        rng.shuffle(told)
        units += told[:2]
    return units


def word_entry(rng: Random) -> list[Unit]:
    """Tell forms of a noun or of a verb, as a dictionary does."""
    if rng.random() < 0.6:
        return _noun_entry(rng, noun(rng.choice(CORE_NOUNS)))
    return _verb_entry(rng, verbs()[rng.choice(CORE_VERBS)])


def _noun_entry(rng: Random, word: Noun) -> list[Unit]:
    case = rng.choice(tuple(CASE_NAMES))
    plural = noun_form(word, plural=True)
    lines = [
        f"Sözlükte {word.lemma} sözcüğünün çoğulu {plural} olur.",
        f"Sözlükte {word.lemma} sözcüğünün {CASE_NAMES[case]} durumu {noun_form(word, case)} olur.",
    ]
    owners = rng.sample(PERSONS, 2)
    mine = ", ".join(f"{_OWNERS[p]} {noun_form(word, possessor=p)}" for p in owners)
    return [[line] for line in (*lines, turkish_capitalize(f"{mine} deriz."))]


def _verb_entry(rng: Random, verb: Verb) -> list[Unit]:
    name = nonfinite(verb, "infinitive")
    tense, negative = rng.choice(tuple(TENSE_NAMES)), rng.random() < 0.4
    form = verb_form(verb, tense)
    denied = nonfinite(verb, "infinitive", negative=True)
    persons = ", ".join(
        f"{_PRONOUNS[p]} {verb_form(verb, tense, p, negative=negative)}"
        for p in rng.sample(PERSONS, 2)
    )
    return [
        [f"Sözlükte {name} eyleminin {TENSE_NAMES[tense]} zamanı {form} olur."],
        [f"Sözlükte {name} eyleminin olumsuzu {denied} olur."],
        [turkish_capitalize(f"{persons} deriz.")],
    ]


def report(rng: Random) -> list[Unit]:
    """Tell three news of one topic."""
    topic = rng.choice(tuple(news.TOPICS))
    return [[news.news_sentence(rng, topic)] for _ in range(3)]


def story(rng: Random) -> list[Unit]:
    """Tell a scene, the same in short, denied, with another slot, asked and answered."""
    scene = random_scene(rng, negative=rng.random() < 0.3)
    first = [scene.sentence(time_first=rng.random() < 0.5)]
    other = change(rng, scene, (rng.choice(("who", "place", "thing", "time")),))
    units = [
        [scene.sentence(time=False)],
        [scene.sentence(place=False, time_first=True)],
        [scene.sentence(time=False, place=False)],
        [other.denied().sentence()],
        [other.sentence()],
        [yes_no_question(scene), "Hayır." if scene.negative else "Evet."],
    ]
    if not scene.negative:
        units += [[location_sentence(scene)], _asked(rng, scene), _asked(rng, scene)]
    return [first, *rng.sample(units, 3)]


def _asked(rng: Random, scene: Scene) -> Unit:
    _, question, answer = rng.choice(questions(scene))
    return [question, turkish_capitalize(answer) + "."]


def diary(rng: Random) -> list[Unit]:
    """Tell what happened and how it felt, or why it happened."""
    if rng.random() < 0.4:
        return [moods.diary_lines(rng)]
    return [causes.told(rng, rng.choice(causes.PAIRS))]


def chat(rng: Random) -> list[Unit]:
    """Ask and answer between two persons, with many persons, tenses and possessors."""
    person, tense = rng.choice(PERSONS), rng.choice(TENSES[:5])
    negative = rng.random() < 0.3
    owner, going = rng.choice((None, *PERSONS)), rng.random() < 0.25
    if going:
        goal = noun_form(noun(rng.choice(nouns_of("yer"))), "dat", possessor=owner)
    else:
        thing, plural = noun(rng.choice(CORE_NOUNS)), rng.random() < 0.4
        goal = noun_form(thing, "acc", plural=plural, possessor=owner)
    verb = verbs()[rng.choice(_GOES if going else _TAKES_OBJECT)]
    speakers = NAMES if person == "3sg" else (_PRONOUNS[person], rng.choice(TIMES))
    body = f"{rng.choice(speakers)} {goal}"
    if rng.random() < 0.25:
        asked = verb_form(verb, tense, person, question=True, negative=negative)
        return [[turkish_capitalize(f"{body} {asked}?")]]
    said = verb_form(verb, tense, person, negative=negative)
    return [[turkish_capitalize(f"{body} {said}.")]]
