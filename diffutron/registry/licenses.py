"""Licenses of what a model was made from, and whether they allow the use that is stated."""

from collections.abc import Iterable
from typing import Literal

from diffutron.config.params import Params

Use = Literal["research", "commercial"]
NOT_STATED = "not stated"
OURS = "Apache-2.0"  # the built-in sample and what is trained on it come with this package
LICENSES = {
    "jhu-clsp/mmBERT-base": "MIT",
    "wikimedia/wikipedia": "CC-BY-SA-3.0",
}
"""As their publishers state them; a set that is not listed counts as not stated."""


def sources(params: Params) -> dict[str, str]:
    """Part of the model -> what it was made from, in the words of the parameters."""
    corpus = ", ".join(entry.name for entry in params.corpus.hub)
    phases = (params.instructions.phase1.name, params.instructions.phase2.name)
    return {
        "tokenizer": _name(params.tokenizer.source, params.tokenizer.name),
        "corpus": _name(params.corpus.source, corpus),
        "backbone": _name(params.backbone.source, params.backbone.name),
        "instructions": _name(params.instructions.source, ", ".join(phases)),
    }


def _name(source: str, hub: str) -> str:
    return {"scratch": "trained here", "sample": "built-in sample", "local": "local folder"}.get(
        source, hub
    )


def licenses(params: Params) -> dict[str, str]:
    """Part of the model -> license, or "not stated"."""
    return {part: _license(source) for part, source in sources(params).items()}


def _license(source: str) -> str:
    if source in ("trained here", "built-in sample"):
        return OURS
    known = [LICENSES.get(name, NOT_STATED) for name in source.split(", ")]
    return NOT_STATED if NOT_STATED in known else " and ".join(dict.fromkeys(known))


def forbids(license: str, use: Use) -> bool:
    """Whether a license stands against a use: a commercial one needs a license that says so."""
    return use == "commercial" and (license == NOT_STATED or "-NC" in license.upper())


def hub_license(found: Iterable[str]) -> str:
    """The `license` of a model page: one for all parts, else "other" (the card has the table)."""
    one = {*found}
    return one.pop().lower() if len(one) == 1 and NOT_STATED not in one else "other"
