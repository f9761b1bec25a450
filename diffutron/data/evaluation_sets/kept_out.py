"""The evaluation items that must not stand in a training text."""

from diffutron.config.params import Params
from diffutron.data.evaluation_sets.evaluation_sets import EvaluationSet, load_sets
from diffutron.data.matching.decontaminate import Item, items_of
from diffutron.data.sources.sources import local_folder


def evaluation_items(params: Params) -> list[Item]:
    """The items of the sets that `corpus.contamination.tasks` names."""
    return [item for one in kept_out_sets(params) for item in items_of(one.task, one.rows)]


def kept_out_sets(params: Params) -> list[EvaluationSet]:
    source, tasks = params.evaluate.source, params.corpus.contamination.tasks
    if not tasks:
        return []
    folder = local_folder("evaluate")[0].parent if source == "local" else None
    return load_sets(tasks, source=source, folder=folder)[0]
