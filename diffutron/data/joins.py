"""The half of the corpus recipe that compares documents: each step marks what it drops, and why."""

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from diffutron.data.dedup import clusters, find_exact, find_near, words
from diffutron.data.fates import Fates
from diffutron.errors import UserError
from diffutron.params_data import CorpusParams


def drop_duplicates(fates: Fates, rules: CorpusParams) -> None:
    """Exact duplicates, then near ones. The longest document of a cluster is kept, of equally long
    ones the one read first."""
    kept = fates.kept
    best_first = np.lexsort((kept, -fates.num_words[kept]))
    instead = find_exact(fates.key[kept], best_first)
    links = [(int(one), int(instead[one])) for one in np.flatnonzero(instead >= 0)]
    unique = best_first[instead[best_first] < 0]
    text = fates.texts()
    near, more = find_near(
        fates.bands, unique, lambda index: words(text(int(kept[index]))), rules.near_duplicate
    )
    cluster = clusters(len(kept), links + more)
    fates.cluster[kept] = kept[cluster]
    sizes = np.unique(cluster, return_counts=True)[1]
    fates.cluster_sizes.update(sizes[sizes > 1].tolist())
    fates.rule.put(kept[instead >= 0], "exact")
    fates.rule.put(kept[near >= 0], "near")
    instead = np.where(instead >= 0, instead, near)
    # The best of equal texts may itself be near another one: then that one stands for them all.
    instead = np.where((instead >= 0) & (near[instead] >= 0), near[instead], instead)
    fates.instead[kept] = np.where(instead >= 0, kept[instead], -1)
    fates.reason.put(kept[instead >= 0], "duplicate")


def drop_contaminated(fates: Fates) -> None:
    """Documents that hold an evaluation item; `rule` names it."""
    kept = fates.kept
    for item in fates.contaminated.counts(kept):
        if item:
            mine = kept[fates.contaminated.are(item)[kept]]
            fates.rule.put(mine, item)
            fates.reason.put(mine, "contaminated")


def draw_quotas(fates: Fates, quotas: Mapping[str, int], *, seed: int) -> None:
    """Draw `quotas[group]` documents uniformly from each group named; others stay whole."""
    kept = fates.kept
    for group, quota in quotas.items():
        members = kept[fates.group.are(group)[kept]]
        if quota > len(members):
            groups = ", ".join(sorted(fates.group.counts()))
            raise UserError(
                f"corpus.quotas.{group} = {quota}, but {len(members)} documents of that group are "
                f"left (groups: {groups}); lower it or take it out"
            )
        order = np.argsort(_draw(fates.key[members], seed, "quota"), kind="stable")
        fates.reason.put(members[order[quota:]], "quota")


def split(fates: Fates, rules: CorpusParams, *, seed: int) -> None:
    """Hold out whole clusters, drawn uniformly, until `heldout_documents` are reached."""
    kept = fates.kept
    if len(kept) <= rules.heldout_documents:
        raise UserError(
            f"corpus.heldout_documents = {rules.heldout_documents}, but only {len(kept)} documents "
            "are left; lower it or bring more text"
        )
    cluster = fates.cluster[kept]
    draws = _draw(fates.key[cluster], seed, "split")
    order = np.lexsort((kept, cluster, draws))
    ordered = cluster[order]
    # The cluster on the border goes to training as a whole: never more than was asked for.
    end = rules.heldout_documents
    while end and ordered[end - 1] == ordered[end]:
        end -= 1
    fates.split.put(kept, "train")
    fates.split.put(kept[order[:end]], "heldout")


def _draw(keys: NDArray[np.uint64], seed: int, purpose: str) -> NDArray[np.uint64]:
    """A uniform number for each key: a pure function of text and seed, not of the order."""
    salt = f"{seed}:{purpose}:".encode()
    return np.array(
        [
            int.from_bytes(hashlib.blake2b(salt + key.tobytes(), digest_size=8).digest(), "big")
            for key in keys
        ],
        np.uint64,
    )
