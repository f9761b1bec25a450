"""Short news of five topics, in regular sentences of who, when, where, what."""

from random import Random

from diffutron.sample.lexicon import noun
from diffutron.sample.material import material
from diffutron.sample.morphology import noun_form
from diffutron.sample.phrases import phrase
from diffutron.text.turkish import turkish_capitalize, word_list

_NEWS = material("events")["news"]
TOPICS = {  # topic: people, places, deeds
    topic: (tuple(each["people"].split()), tuple(each["places"].split()), tuple(each["deeds"]))
    for topic, each in _NEWS["topics"].items()
}
LABELS = {topic: each["label"] for topic, each in _NEWS["topics"].items()}
TIMES = word_list(_NEWS["times"])


def news_sentence(rng: Random, topic: str) -> str:
    """Return one sentence of the topic."""
    people, places, deeds = TOPICS[topic]
    person, place, deed = rng.choice(people), rng.choice(places), rng.choice(deeds)
    tense = rng.choice(("past", "past", "narrative", "future"))
    time = rng.choice(("yarın", *TIMES[1:])) if tense == "future" else rng.choice(TIMES)
    where = noun_form(noun(place), "loc")
    return turkish_capitalize(f"{time} {where} {person} {phrase(deed, tense)}.")
