"""The license of each source, and whether it allows a use.

This is the one rule: the stage `corpus`, the promotion gate and the model card ask here. A license
counts as it is stated (`license` of `sources.yaml` or `corpus.hub`); a hub name that states none is
looked up in KNOWN.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from diffutron.config.params import Params
from diffutron.runtime.errors import UserError

Use = Literal["research", "commercial"]
NOT_STATED = "not stated"
OURS = "Apache-2.0"  # the built-in sample and what is trained on it come with this package
KNOWN = {"jhu-clsp/mmBERT-base": "MIT", "wikimedia/wikipedia": "CC-BY-SA-3.0"}
"""As their publishers state them."""
WORDS = {"scratch": "trained here", "sample": "built-in sample", "local": "local folder"}
_FORBIDS = re.compile(r"\bNC\b|non-?\s?commercial|research only|academic", re.IGNORECASE)


@dataclass(frozen=True)
class License:
    """The license of a source, and whether it allows commercial use (None: not known)."""

    source: str
    license: str
    commercial: bool | None


def license_of(
    source: str, stated: str | None = None, *, commercial: bool | None = None
) -> License:
    """The license of a source.

    Args:
        source: the name of the source, on the hub or in `sources.yaml`.
        stated: the name of the license, where one is stated.
        commercial: whether it allows commercial use, where the name of the license does not say it.
    """
    license = stated or KNOWN.get(source, NOT_STATED)
    if commercial is None and license != NOT_STATED:
        commercial = not _FORBIDS.search(license)
    return License(source, license, commercial)


def allows(one: License, *, use: str, allowed: Collection[str]) -> bool:
    """Whether a source may be used so: commercial use needs a license that allows it, or one of
    `allowed`, the licenses that `corpus.allowed_licenses` accepts in spite of it.
    """
    return use == "research" or bool(one.commercial) or one.license in allowed


def check_licenses(licenses: Iterable[License], *, use: str, allowed: Collection[str]) -> None:
    """Refuse sources whose license forbids the stated use.

    Raises:
        UserError: names source and license, and what to change.
    """
    for one in licenses:
        if not allows(one, use=use, allowed=allowed):
            raise UserError(
                f"corpus.use is commercial, but the license of {one.source} is {one.license!r}, "
                "which does not allow it; leave the source out, state `commercial: true` in "
                f"sources.yaml, or add {one.license!r} to corpus.allowed_licenses"
            )


def model_licenses(params: Params, measured: Mapping[str, Any]) -> dict[str, list[License]]:
    """Part of a model -> the licenses of what it was made from.

    Args:
        measured: the metrics of each stage; `corpus` and `instructions` hold the licenses of their
            sources. A build of before these were recorded is judged by its parameters alone.
    """
    corpus, phases = params.corpus, (params.instructions.phase1, params.instructions.phase2)
    made_from = {
        "tokenizer": (params.tokenizer.source, [license_of(params.tokenizer.name)]),
        "corpus": (corpus.source, [license_of(one.name, one.license) for one in corpus.hub]),
        "backbone": (params.backbone.source, [license_of(params.backbone.name)]),
        "instructions": (params.instructions.source, [license_of(one.name) for one in phases]),
    }
    found = {}
    for part, (source, hub) in made_from.items():
        recorded = measured.get(part, {}).get("licenses")
        if recorded is not None:
            found[part] = [License(**one) for one in recorded]
        elif source == "hub":
            found[part] = hub
        else:
            stated = NOT_STATED if source == "local" else OURS
            found[part] = [license_of(WORDS[source], stated)]
    return found


def against(
    parts: Mapping[str, Sequence[License]], *, use: str, allowed: Collection[str]
) -> list[str]:
    """What stands against a use of a model, in words; empty where its licenses allow it."""
    return [
        f"{part}: {one.license} ({one.source})"
        for part, licenses in parts.items()
        for one in licenses
        if not allows(one, use=use, allowed=allowed)
    ]
