"""Good and bad events, sincere and mocking remarks: ironic when the two do not fit.

Mostly praise of a bad event is ironic, sometimes blame of a good one. Every event and every remark
stands in ironic and in sincere sentences, so no single word decides.
"""

from random import Random

from diffutron.sample.material import material
from diffutron.sample.phrases import phrase
from diffutron.text.turkish import turkish_capitalize, word_list

_MOODS = material("events")["moods"]
TIMES = word_list(_MOODS["times"])
BAD, GOOD, PRAISE, BLAME = (tuple(_MOODS[kind]) for kind in ("bad", "good", "praise", "blame"))


def _event(rng: Random, good: bool) -> str:
    spec = rng.choice(GOOD if good else BAD)
    return f"{rng.choice(TIMES)} {phrase(spec, 'past', '1sg')}"


def remark_sentence(rng: Random, *, ironic: bool) -> str:
    """Return one sentence, event and remark; they fit unless `ironic`."""
    good = rng.random() < (0.2 if ironic else 0.5)
    remark = rng.choice(PRAISE if good != ironic else BLAME)
    return turkish_capitalize(f"{_event(rng, good)}, {remark}.")


def diary_lines(rng: Random) -> list[str]:
    """Return an event and a fitting remark, as one sentence or as two."""
    good = rng.random() < 0.5
    event, remark = _event(rng, good), rng.choice(PRAISE if good else BLAME)
    if rng.random() < 0.5:
        return [turkish_capitalize(f"{event}, {remark}.")]
    return [turkish_capitalize(event) + ".", turkish_capitalize(remark) + "."]
