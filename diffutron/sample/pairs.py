"""Pairs of sentences and choices, as evaluation and instructions both ask for them.

Every draw is balanced so that one half of the pair alone says nothing about the answer.
"""

from collections.abc import Iterable
from random import Random

from diffutron.sample import causes
from diffutron.sample.partition import side
from diffutron.sample.scenes import Scene, change, questions, random_scene
from diffutron.text.turkish import turkish_capitalize

ENTAILMENT, NEUTRAL, CONTRADICTION = 0, 1, 2
_SLOTS = ("who", "time", "place", "thing")
_LEAST_FIRST = ("time", "place", "thing", "verb", "who")


def all_on(wanted: str, sentences: Iterable[str]) -> bool:
    """Return whether every sentence is on the `wanted` side of the partition."""
    return all(side(sentence) == wanted for sentence in sentences)


def scene_on(rng: Random, wanted: str) -> Scene:
    """Draw a scene whose sentence is on the `wanted` side."""
    while True:
        scene = random_scene(rng)
        if side(scene.sentence()) == wanted:
            return scene


# What the two sentences mention of (time, place), as (positive one, negative one): the positive
# one says more, since "he did it there" refutes "he did not do it", not the other way round.
_MENTIONS = (
    ((True, True), (True, False)), ((True, True), (False, True)), ((True, True), (True, True)),
    ((True, False), (False, False)), ((False, True), (False, False)),
)  # fmt: skip


def inference_pair(rng: Random, label: int, wanted: str) -> tuple[str, str]:
    """Return (premise, hypothesis) for a label 0 entailment, 1 neutral, 2 contradiction.

    A neutral hypothesis has another subject and another thing, or tells of something else. Both
    sentences are on the `wanted` side.
    """
    while not all_on(wanted, pair := _inference_pair(rng, label)):
        pass
    return pair


def _inference_pair(rng: Random, label: int) -> tuple[str, str]:
    premise_negative = rng.random() < 0.25
    more, less = rng.choice(_MENTIONS)
    said, concluded = (less, more) if premise_negative else (more, less)
    premise = random_scene(rng, negative=premise_negative)
    hypothesis = premise
    if label == NEUTRAL:
        slots = ("who", "thing") if rng.random() < 0.5 else ("who", "verb", "place")
        hypothesis = change(rng, premise, slots)
    if label == CONTRADICTION or (label == NEUTRAL and rng.random() < 0.5):
        hypothesis = hypothesis.denied()
    moved = rng.random() < 0.5
    return (
        premise.sentence(time=said[0], place=said[1], time_first=moved),
        hypothesis.sentence(time=concluded[0], place=concluded[1], time_first=not moved),
    )


def similar_pair(rng: Random, changed: int, wanted: str) -> tuple[str, str]:
    """Return two sentences that differ in `changed` of five words (0: only in their order).

    What matters less is changed first: time, place, thing, verb, subject.
    """
    while True:
        first = random_scene(rng)
        second = change(rng, first, _LEAST_FIRST[:changed])
        moved = rng.random() < 0.5
        again = not moved if changed == 0 else rng.random() < 0.5
        pair = first.sentence(time_first=moved), second.sentence(time_first=again)
        if all_on(wanted, pair):
            return pair


def cause_item(rng: Random) -> tuple[str, str, str, str]:
    """Return (question, premise, right choice, wrong choice); choices are full sentences."""
    right, wrong = rng.sample(causes.PAIRS, 2)
    while right.theme == wrong.theme:
        right, wrong = rng.sample(causes.PAIRS, 2)
    question = rng.choice(("cause", "effect"))
    telling = causes.random_telling(rng)

    def choice(pair: causes.Pair) -> str:
        spec = pair.cause if question == "cause" else pair.effect
        text = causes.continuation(spec, telling, rng.choice(causes.ADVERBS))
        return turkish_capitalize(text) + "."

    given = causes.premise(right.effect if question == "cause" else right.cause, telling)
    return question, given, choice(right), choice(wrong)


def passage_item(rng: Random, wanted: str, sentences: int) -> tuple[list[str], str, str, list[str]]:
    """Return (sentences, question, answer, other answers that the passage holds).

    No two sentences share a word that a question can ask for.
    """
    scenes: list[Scene] = []
    while len(scenes) < sentences:
        scene = scene_on(rng, wanted)
        if all(getattr(scene, s) != getattr(o, s) for o in scenes for s in (*_SLOTS, "verb")):
            scenes.append(scene)
    asked = rng.randrange(sentences)
    pick = rng.randrange(len(_SLOTS))
    _, question, answer = questions(scenes[asked])[pick]
    others = [questions(s)[pick][2] for i, s in enumerate(scenes) if i != asked]
    return [scene.sentence() for scene in scenes], question, answer, others
