"""`diffutron params`: compose a profile with overrides, check it, edit `params.yaml`.

A digest of the values that were written last is kept beside what DVC keeps of a clone, so that a
later call can tell whether somebody has changed them by hand.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffutron.config.params import parse_params
from diffutron.config.reference import comments
from diffutron.config.renamed import KEYS
from diffutron.operations.corpora import with_entries
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import write_text
from diffutron.runtime.project import require_project
from diffutron.runtime.tables import flatten
from diffutron.runtime.yaml_files import edited, parse_yaml, read_yaml

if TYPE_CHECKING:
    from diffutron.runtime.hub import Kind

PROFILES = Path("infra/profiles")
CURRENT = "current"  # the values of params.yaml itself
LOCAL_SECTIONS = ("corpus", "instructions", "evaluate")
SAID = 60  # characters of a value that changed


def names(folder: Path = PROFILES) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))


def compose(
    profile: str, overrides: Sequence[str] = (), *, folder: Path = PROFILES, pinned: bool = True
) -> Any:
    """The values of a profile with `key=value` overrides, checked; plain dicts and lists.

    pinned: what is read from the hub gets its commit, where none is given.

    Raises:
        UserError: unknown profile, unknown key, value out of range, override not of that form.
    """
    if folder == PROFILES:
        require_project("params", str(PROFILES))
    if profile not in names(folder):
        raise UserError(f"profile `{profile}` is unknown; choose one of {', '.join(names(folder))}")
    values = read_profile(profile, folder)
    origin = f"profile {profile}"
    for override in overrides:
        values = with_override(values, override)
        _unpin(override, values)
        origin = f"override {' '.join(overrides)}"
    for section in LOCAL_SECTIONS if isinstance(values, dict) else ():
        entry = values.get(section)
        if isinstance(entry, dict) and "hub" in entry:
            values[section] = entry = {**entry, "hub": with_entries(entry["hub"])}
        if isinstance(entry, dict) and entry.get("source") == "local":
            from diffutron.data.sources.sources import local_digest

            # Results depend on the content of a local folder, and DVC cannot see it.
            values[section] = {**entry, "digest": local_digest(section)}
    _digest_tasks(values)
    parse_params(values, origin=origin)
    if pinned:
        pin(values)
    return values


def _digest_tasks(values: Any) -> None:
    """Write the digest of somebody's own task files, which DVC cannot see either."""
    section = values.get("evaluate") if isinstance(values, dict) else None
    if not isinstance(section, dict) or "tasks_dir" not in section:
        return  # refused where the values are checked
    folder, digest = section["tasks_dir"], None
    if isinstance(folder, str):
        from diffutron.data.task_folder import SETTING, read_tasks, tasks_digest

        digest = tasks_digest(read_tasks(Path(folder), setting=SETTING))
    section["tasks_digest"] = digest


def pin(values: Any) -> None:
    """Write the commit beside each revision that is read from the hub; a line where it cannot be
    had, and one for all of them where the hub cannot be reached."""
    from diffutron.runtime.hub import HubError, resolve

    away: HubError | None = None
    without: list[str] = []
    for setting, kind, entry in hub_names(values):
        if entry.get("commit") is not None:
            continue
        named = {"kind": kind, "revision": entry["revision"], "setting": setting}
        try:
            entry["commit"] = resolve(entry["name"], **named, online=away is None)
        except HubError as error:
            entry["commit"] = None
            away = error if error.cause == "unreachable" else away
            if away is None:
                print(f"{error}; its commit stays null", file=sys.stderr, flush=True)
            else:
                without.append(setting)
    if away is not None:
        which = ", ".join(without)
        print(f"{away}; these commits stay null: {which}", file=sys.stderr, flush=True)


def hub_names(values: Any) -> "Iterator[tuple[str, Kind, dict[str, Any]]]":
    """What params read from the hub: setting, kind, and the mapping with name and revision."""
    for section in ("tokenizer", "backbone"):
        if values[section]["source"] == "hub":
            yield f"{section}.name", "model", values[section]
    corpus, instructions, evaluate = (values[section] for section in LOCAL_SECTIONS)
    if corpus["source"] == "hub":
        for entry in corpus["hub"]:
            yield "corpus.hub", "dataset", entry
    if instructions["source"] == "hub":
        for phase in ("phase1", "phase2"):
            yield f"instructions.{phase}", "dataset", instructions[phase]
    if evaluate["perplexity_text"]["source"] == "hub":
        yield "evaluate.perplexity_text", "dataset", evaluate["perplexity_text"]


def read_profile(name: str, folder: Path = PROFILES) -> Any:
    """The values of a profile's file, put onto those of the profiles that its `defaults` name."""
    own = read_yaml(folder / f"{name}.yaml")
    if not isinstance(own, dict):
        return own  # refused where the values are checked
    values: Any = {}
    for part in own.pop("defaults", ["_self_"]):
        values = merged(values, own if part == "_self_" else read_profile(part, folder))
    return values


def merged(below: Any, above: Any) -> Any:
    """`above` put onto `below`: mappings key by key, everything else as a whole."""
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return above
    return {
        **below,
        **{key: merged(below[key], above[key]) if key in below else above[key] for key in above},
    }


def with_override(values: Any, text: str) -> Any:
    """`values` with `a.b=1` put onto them; the value of an override is YAML.

    Raises:
        UserError: not of that form, or a key of `values` by a name that has changed.
    """
    key, mark, value = text.partition("=")
    path = key.strip().split(".")
    if not mark or not all(path):
        raise UserError(f"override {text}: write -S key=value, a key of a section as section.key")
    now = [KEYS.get(part, part) for part in path]
    if now != path and not _holds(values, path) and _holds(values, now):
        raise UserError(f"override {text}: `{key}` is now called `{'.'.join(now)}`; write that")
    nested = parse_yaml(value, origin=f"override {text}")
    for part in reversed(path):
        nested = {part: nested}
    return merged(values, nested)


def _unpin(override: str, values: Any) -> None:
    """Another name or revision has another commit."""
    *path, last = override.partition("=")[0].strip().split(".")
    if last in ("name", "revision") and _holds(values, [*path, "commit"]):
        for part in path:
            values = values[part]
        values["commit"] = None


def _holds(values: Any, path: Sequence[str]) -> bool:
    for part in path:
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True


def values_digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def changed_by_hand(path: Path) -> bool:
    """Whether a params file holds other values than the last `diffutron params` left there, or,
    where none is on record, than the profile that it names."""
    if not path.exists():
        return False
    values, record = read_yaml(path), _record(path)
    if record.is_file():
        return record.read_text(encoding="utf-8") != values_digest(values)
    named = values.get("profile") if isinstance(values, dict) else None
    return named not in names() or values != compose(named, pinned=False)


def _record(path: Path) -> Path:
    """Where the digest of the values is kept that were written last: with what DVC keeps of this
    clone alone."""
    return path.parent / ".dvc" / "tmp" / f"{path.name}.sha256"


@dataclass(frozen=True)
class Written:
    """changed: the settings that have other values now. aside: where a file that was made by hand
    is kept, if it was replaced."""

    changed: list[str]
    aside: Path | None = None


def write_params(
    profile: str, overrides: Sequence[str], *, path: Path, keep_changes: bool
) -> Written:
    """Put the values of the composed profile into `path`, whose comments and layout stay.

    A new profile says what a key means where nothing stands beside its value.

    Raises:
        UserError: as `new_params`.
    """
    values = new_params(profile, overrides, path=path, keep_changes=keep_changes)
    by_hand, aside = changed_by_hand(path), None
    text = path.read_text(encoding="utf-8") if path.exists() else _first_text(values["profile"])
    before = parse_yaml(text, origin=str(path))
    if before != values and by_hand and profile != CURRENT:
        aside = path.with_name(path.name + ".orig")
        write_text(aside, text)
    if before != values or not path.exists():
        said = None if profile == CURRENT else comments()
        write_text(path, edited(text, values, comments=said))
    if _record(path).parent.parent.is_dir() and not (by_hand and profile == CURRENT):
        write_text(_record(path), values_digest(values))
    return Written(differences(before, values), aside)


def _first_text(profile: str) -> str:
    """The file of a profile, or of the one that it is put onto: that one has all keys."""
    path = PROFILES / f"{profile}.yaml"
    below = [name for name in read_yaml(path).get("defaults", []) if name != "_self_"]
    return _first_text(below[0]) if below else path.read_text(encoding="utf-8")


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """`section.key: old -> new` for each value that differs; a long value is cut."""
    old, new = flatten(before), flatten(after)

    def said(values: Mapping[str, Any], key: str) -> str:
        text = str(values.get(key, "absent"))
        return text if len(text) <= SAID else f"{text[:SAID].rstrip()} ..."

    return [
        f"{key}: {said(old, key)} -> {said(new, key)}"
        for key in dict.fromkeys([*new, *old])
        if old.get(key, ...) != new.get(key, ...)
    ]


def new_params(
    profile: str, overrides: Sequence[str], *, path: Path, keep_changes: bool
) -> dict[str, Any]:
    """The values that `write_params` would write; writes nothing.

    Raises:
        UserError: as `compose`, or `keep_changes` and the file was changed by hand.
    """
    if profile == CURRENT:
        read_yaml(path)  # names what is wrong with an absent or damaged file
        return compose(path.stem, overrides, folder=path.parent)
    values = compose(profile, overrides)
    if keep_changes and changed_by_hand(path) and read_yaml(path) != values:
        raise UserError(
            f"{path} holds changes made by hand; keep them with profile `current`, "
            "or force the new profile"
        )
    return values
