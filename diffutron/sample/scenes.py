"""Everyday scenes: who, when, where, what, in regular sentences of five words."""

from dataclasses import dataclass, replace
from random import Random

from diffutron.sample.lexicon import NAMES, noun, verbs
from diffutron.sample.material import material
from diffutron.sample.morphology import attach, nonfinite, noun_form, particle, verb_form
from diffutron.text.turkish import turkish_capitalize, word_list

TIMES = word_list(material("scenes")["times"])
ACTIONS = {
    verb: (tuple(action["things"].split()), tuple(action["places"].split()))
    for verb, action in material("scenes")["actions"].items()
}


@dataclass(frozen=True)
class Scene:
    """Somebody does something to a thing at a place and a time; `negative` denies it."""

    who: str
    time: str
    place: str
    thing: str
    verb: str
    tense: str = "past"
    negative: bool = False

    def predicate(self) -> str:
        return verb_form(verbs()[self.verb], self.tense, negative=self.negative)

    def words(self, *, time: bool = True, place: bool = True) -> list[str]:
        where = noun_form(noun(self.place), "loc")
        middle = [*([self.time] if time else []), *([where] if place else [])]
        return [self.who, *middle, self.thing, self.predicate()]

    def sentence(self, *, time: bool = True, place: bool = True, time_first: bool = False) -> str:
        """Return the sentence; ``time_first`` moves the time before the subject."""
        parts = self.words(time=time, place=place)
        if time_first and time:
            parts[0], parts[1] = parts[1], parts[0]
        return turkish_capitalize(" ".join(parts)) + "."

    def denied(self) -> "Scene":
        return replace(self, negative=not self.negative)


def random_scene(rng: Random, *, tense: str = "past", negative: bool = False) -> Scene:
    """Draw a scene whose thing and place fit its verb."""
    verb = rng.choice(tuple(ACTIONS))
    things, places = ACTIONS[verb]
    return Scene(
        rng.choice(NAMES), rng.choice(TIMES), rng.choice(places), rng.choice(things), verb,
        tense, negative,
    )  # fmt: skip


def change(rng: Random, scene: Scene, slots: tuple[str, ...]) -> Scene:
    """Return `scene` with every slot of `slots` (who, time, place, thing, verb) changed.

    A changed verb always brings a thing of its own.
    """
    new = scene
    if "verb" in slots:
        verb = rng.choice([v for v in ACTIONS if v != scene.verb])
        new = replace(new, verb=verb)
    things, places = ACTIONS[new.verb]
    pools = {"who": NAMES, "time": TIMES, "place": places, "thing": things}
    for slot in pools:
        if slot in slots or (slot == "thing" and "verb" in slots):
            other = rng.choice([word for word in pools[slot] if word != getattr(scene, slot)])
            new = replace(new, **{slot: other})
    return new


def location_sentence(scene: Scene) -> str:
    """Return who was where: ``Ali dün parktaydı.``"""
    where = attach(noun_form(noun(scene.place), "loc"), "(y)DI")
    return f"{scene.who} {scene.time} {where}."


def questions(scene: Scene) -> list[tuple[str, str, str]]:
    """Return (slot, question, answer) for a positive scene; the answer stands in its sentence."""
    verb, thing = scene.predicate(), scene.thing
    doer = nonfinite(verbs()[scene.verb], "participle")
    where = noun_form(noun(scene.place), "loc")
    return [
        ("who", f"{turkish_capitalize(scene.time)} {where} {thing} {doer} kimdir?", scene.who),
        ("place", f"{scene.who} nerede {thing} {verb}?", where),
        ("thing", f"{scene.who} {scene.time} {where} ne {verb}?", thing),
        ("time", f"{scene.who} {where} ne zaman {thing} {verb}?", scene.time),
    ]


def yes_no_question(scene: Scene) -> str:
    """Return the scene as a question: ``Ali dün parkta kitap okudu mu?``"""
    body = scene.sentence()[:-1]
    return f"{body} {particle(body)}?"
