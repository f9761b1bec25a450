"""The half of the corpus recipe that compares documents: each step marks what it drops, and why.

The texts stay in the shards on disk; here is one small row a document.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from diffutron.data.cleaning import Cleaner, drop_lines
from diffutron.data.dedup import clusters, find_exact, find_near, words
from diffutron.data.shards import Cleaned, column, list_chunks, read_rows, read_shard, write_shard
from diffutron.errors import UserError
from diffutron.params import CorpusParams
from diffutron.progress import track

REASONS = (
    "bad_line",
    "language",
    "too_short",
    "too_long",
    "quality",
    "repetition",
    "boilerplate",
    "duplicate",
    "contaminated",
    "quota",
)


@dataclass
class Fates:
    """What is known of every document, as columns; the texts stay in the shards on disk.

    `reason` is empty for a kept document, `cluster` is shared by documents linked as duplicates,
    `split` is train, heldout or empty.
    """

    paths: list[Path]
    shard: NDArray[np.int64]
    row: NDArray[np.int64]
    source: NDArray[np.str_]
    group: NDArray[np.str_]
    reason: NDArray[np.object_]
    rule: NDArray[np.object_]
    num_tokens: NDArray[np.int64]
    num_words: NDArray[np.int64]
    num_characters: NDArray[np.int64]
    key: NDArray[np.uint64]
    bands: NDArray[np.uint64]  # of the documents that the first half kept, in their order
    contaminated: NDArray[np.object_]
    cluster: NDArray[np.int64] = field(init=False)
    split: NDArray[np.object_] = field(init=False)
    cluster_sizes: Counter[int] = field(default_factory=Counter)

    @classmethod
    def load(cls, cleaned: Sequence[Cleaned]) -> "Fates":
        tables = [read_shard(shard.path) for shard in cleaned]
        lengths = [len(table) for table in tables]
        tokens = [np.diff(ids.offsets.to_numpy()) for ids in list_chunks(tables, "ids")]
        bands = np.concatenate([keys.flatten().to_numpy() for keys in list_chunks(tables, "bands")])
        reason = column(tables, "reason")
        kept = int((reason == "").sum())
        return cls(
            paths=[shard.path for shard in cleaned],
            shard=np.repeat(np.arange(len(tables)), lengths),
            row=np.concatenate([np.arange(length) for length in lengths]),
            source=column(tables, "source").astype(str),
            group=column(tables, "group").astype(str),
            reason=reason,
            rule=column(tables, "rule"),
            num_tokens=np.concatenate(tokens).astype(np.int64),
            num_words=column(tables, "num_words").astype(np.int64),
            num_characters=np.concatenate([_num_characters(table) for table in tables]),
            key=column(tables, "key"),
            bands=bands.reshape(kept, len(bands) // max(kept, 1)),
            contaminated=column(tables, "contaminated"),
        )

    def __post_init__(self) -> None:
        self.cluster = np.arange(len(self.reason))
        self.split = np.full(len(self.reason), "", object)
        self.require_some("the steps that look at one document")

    @property
    def kept(self) -> NDArray[np.int64]:
        return np.flatnonzero(self.reason == "")

    def drop(self, indices: NDArray[np.int64], reason: str, *, step: str) -> None:
        self.reason[indices] = reason
        self.require_some(step)

    def require_some(self, step: str) -> None:
        if not len(self.kept):
            most = Counter(self.reason.tolist()).most_common(3)
            found = ", ".join(f"{count} {reason}" for reason, count in most)
            raise UserError(
                f"corpus: no document is left after {step} (dropped: {found or 'none read'}); "
                "look at the thresholds in the section corpus and at the source"
            )

    def texts(self, indices: NDArray[np.int64] | list[int]) -> Callable[[int], str]:
        """The text of any of these documents by its index, read from the shards when asked for."""
        tables = {int(shard): read_shard(self.paths[shard]) for shard in set(self.shard[indices])}

        def text(index: int) -> str:
            return tables[int(self.shard[index])].column("text")[int(self.row[index])].as_py()

        return text


def _num_characters(table: pa.Table) -> NDArray[np.int64]:
    return pc.call_function("utf8_length", [table.column("text")]).to_numpy().astype(np.int64)


def drop_boilerplate(
    cleaned: Sequence[Cleaned], rules: CorpusParams, *, cleaner: Callable[[], Cleaner]
) -> int:
    """Take lines that stand in more than `boilerplate_documents` documents out of the shards.

    Returns the number of lines removed.
    """
    columns = [
        lines.flatten().to_numpy()
        for shard in cleaned
        for lines in list_chunks([read_shard(shard.path)], "lines")
    ]
    keys, counts = np.unique(np.concatenate(columns), return_counts=True)
    repeated = frozenset(keys[counts > rules.boilerplate_documents].tolist())
    if not repeated:
        return 0
    again = cleaner()
    return sum(_rewrite(shard, repeated, again) for shard in track(cleaned, desc="boilerplate"))


def _rewrite(shard: Cleaned, repeated: frozenset[int], cleaner: Cleaner) -> int:
    rows = read_rows(shard.path)
    touched = [not row.reason and not repeated.isdisjoint(row.lines) for row in rows]
    if not any(touched):
        return 0
    removed, renewed = 0, []
    for row, edit in zip(rows, touched, strict=True):
        if not edit:
            renewed.append(row)
            continue
        text = drop_lines(row.text, repeated)
        removed += row.text.count("\n") - text.count("\n")
        row.text = text
        renewed += cleaner.clean_again([row])
    write_shard(shard.path, renewed)
    return removed


def drop_duplicates(fates: Fates, rules: CorpusParams) -> None:
    """Exact duplicates, then near ones. The longest document of a cluster is kept, of equally long
    ones the one read first."""
    kept = fates.kept
    best_first = np.lexsort((kept, -fates.num_words[kept]))
    instead = find_exact(fates.key[kept], best_first)
    links = [(int(one), int(instead[one])) for one in np.flatnonzero(instead >= 0)]
    unique = best_first[instead[best_first] < 0]
    text = fates.texts(kept)
    near, more = find_near(
        fates.bands, unique, lambda index: words(text(int(kept[index]))), rules.near_duplicate
    )
    cluster = clusters(len(kept), links + more)
    fates.cluster[kept] = kept[cluster]
    sizes = np.unique(cluster, return_counts=True)[1]
    fates.cluster_sizes = Counter(sizes[sizes > 1].tolist())
    fates.rule[kept[instead >= 0]] = "exact"
    fates.rule[kept[near >= 0]] = "near"
    fates.drop(kept[(instead >= 0) | (near >= 0)], "duplicate", step="duplicates")


def drop_contaminated(fates: Fates) -> None:
    """Documents that hold an evaluation item; `rule` names it."""
    kept = fates.kept
    found = kept[fates.contaminated[kept] != ""]
    fates.rule[found] = fates.contaminated[found]
    fates.drop(found, "contaminated", step="decontamination")


def draw_quotas(fates: Fates, rules: CorpusParams, *, seed: int) -> None:
    """Draw `quotas[group]` documents uniformly from each group named; others stay whole."""
    kept = fates.kept
    for group, quota in rules.quotas.items():
        members = kept[fates.group[kept] == group]
        if quota > len(members):
            groups = ", ".join(sorted(set(fates.group.tolist())))
            raise UserError(
                f"corpus.quotas.{group} = {quota}, but {len(members)} documents of that group are "
                f"left (groups: {groups}); lower it or take it out"
            )
        order = np.argsort(_draw(fates.key[members], seed, "quota"), kind="stable")
        fates.drop(members[order[quota:]], "quota", step="quotas")


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
    fates.split[kept] = "train"
    fates.split[kept[order[:end]]] = "heldout"


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
