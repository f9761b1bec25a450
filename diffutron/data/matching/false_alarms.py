"""How many clean texts the rule drops: it is asked about items that are none.

The words of all sets, in their order, are cut into as many items with fields as long, but begun
half way through. Such a decoy is as natural as an item and stands in no text, so that a clean text
in which the rule finds one would have been dropped by chance. This is the target-decoy estimate of
proteomics (Elias and Gygi 2007, doi:10.1038/nmeth1019); `docs/data.md` holds it against alarms.
"""

from collections.abc import Iterable, Sequence
from itertools import chain, islice

from diffutron.config.data_params import ContaminationRules
from diffutron.data.matching.decontaminate import Contamination, Item

MOST = 10_000  # texts that are looked at: with none found, the share is below 0.03 % at 95 %


def decoys(items: Sequence[Item]) -> list[Item]:
    """As many items, with fields as long, of the same words in the same order."""
    stream = list(chain.from_iterable(chain.from_iterable(item.fields for item in items)))
    half = len(stream) // 2
    words = iter(stream[half:] + stream[:half])
    return [
        Item(f"decoy of {item.name}", tuple(tuple(islice(words, len(f))) for f in item.fields))
        for item in items
    ]


def count_false_alarms(
    items: Sequence[Item], rules: ContaminationRules, clean: Iterable[str]
) -> dict[str, int]:
    """Of the first `MOST` texts in which no item was found: their number (`texts`), and in how
    many a decoy is found (`found`). Empty where there are no items."""
    if not items:
        return {}
    index = Contamination(decoys(items), rules)
    found = [index.find(text) is not None for text in islice(clean, MOST)]
    return {"texts": len(found), "found": sum(found)}
