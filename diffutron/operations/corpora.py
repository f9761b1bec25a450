"""Corpora of the hub by name (`infra/corpora.yaml`): what a name in `corpus.hub` stands for."""

from pathlib import Path
from typing import Any

from diffutron.runtime.errors import UserError
from diffutron.runtime.yaml_files import read_yaml

CORPORA = Path("infra/corpora.yaml")


def with_entries(hub: Any) -> Any:
    """`corpus.hub` with the entry of each corpus that is named there.

    A name alone is its whole entry; beside `name`, keys like `limit` or `revision` go on top of
    it. All else stays as it is, for the check of the parameters to judge.

    Raises:
        UserError: a name alone that is not in `infra/corpora.yaml`.
    """
    entries = [hub] if isinstance(hub, str) else hub
    return [_entry(one) for one in entries] if isinstance(entries, list) else hub


def _entry(one: Any) -> Any:
    given = {"name": one} if isinstance(one, str) else one
    name = given.get("name") if isinstance(given, dict) else None
    known = read_yaml(CORPORA) if isinstance(name, str) and "/" not in name else {}
    if name in [*known]:
        own = {key: value for key, value in given.items() if key != "name"}
        return {**known[name], **own}
    if isinstance(one, str):
        raise UserError(
            f"corpus.hub: `{one}` is no corpus of {CORPORA}; choose one of "
            f"{', '.join(known or read_yaml(CORPORA))}, or give a mapping with name, revision, "
            "split, field and group"
        )
    return one
