"""`diffutron params`: compose a profile with overrides, check it, write `params.yaml`.

The header of the file written holds a digest of its values, so that a later call can tell whether
somebody has changed them by hand.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffutron.config.params import parse_params
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import write_text
from diffutron.runtime.yaml_files import read_yaml

PROFILES = Path("infra/profiles")
CURRENT = "current"  # the values of params.yaml itself
LOCAL_SECTIONS = ("corpus", "instructions", "evaluate")
_HEADER = re.compile(r"^# values: ([0-9a-f]{64})$", re.MULTILINE)


def names(folder: Path = PROFILES) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))


def compose(profile: str, overrides: Sequence[str] = (), *, folder: Path = PROFILES) -> Any:
    """The values of a profile with `key=value` overrides, checked; plain dicts and lists.

    Raises:
        UserError: unknown profile, unknown key, value out of range, override not of that form.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if profile not in names(folder):
        raise UserError(f"profile `{profile}` is unknown; choose one of {', '.join(names(folder))}")
    try:
        with initialize_config_dir(str(folder.resolve()), version_base=None):
            config = hydra_compose(profile, overrides=list(overrides))
        values = OmegaConf.to_container(config, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        message = f"override {' '.join(overrides)}: {' '.join(str(error).split())}"
        raise UserError(
            f"{message}; write -S section.key=value with a key of params.yaml"
        ) from None
    _fill_digests(values)
    parse_params(values, origin=f"profile {profile}")
    return values


def _fill_digests(values: Any) -> None:
    """The content of a local folder is a number that results depend on, and DVC cannot see it."""
    for section in LOCAL_SECTIONS:
        entry = values.get(section)
        if isinstance(entry, dict) and entry.get("source") == "local":
            from diffutron.data.sources.sources import local_digest

            entry["digest"] = local_digest(section)


def values_digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def changed_by_hand(path: Path) -> bool:
    """Whether a params file differs from what the last `diffutron params` wrote."""
    if not path.exists():
        return False
    header = _HEADER.search(path.read_text(encoding="utf-8"))
    values = read_yaml(path)
    if header is not None:
        return header.group(1) != values_digest(values)
    named = values.get("profile") if isinstance(values, dict) else None
    return named not in names() or values != compose(named)  # the file as committed has no digest


def write_params(
    profile: str, overrides: Sequence[str], *, path: Path, keep_changes: bool
) -> Path | None:
    """Write the composed profile to `path`; return where hand-made changes were put aside, if any.

    Raises:
        UserError: as `compose`, or `keep_changes` and the file was changed by hand.
    """
    from omegaconf import OmegaConf

    if profile == CURRENT:
        _change_current(overrides, path=path)
        return None
    values = compose(profile, overrides)
    if path.exists() and read_yaml(path) == values:
        return None  # comments and the state of the working tree stay as they are
    aside = None
    if changed_by_hand(path):
        if keep_changes:
            raise UserError(
                f"{path} holds changes made by hand; keep them with profile `current`, "
                "or force the new profile"
            )
        aside = path.with_name(path.name + ".orig")
        write_text(aside, path.read_text(encoding="utf-8"))
    said = " ".join(["diffutron params --profile", profile, *(f"-S {o}" for o in overrides)])
    body = OmegaConf.to_yaml(OmegaConf.create(values))
    write_text(
        path, f"# Written by `{said}`; edit freely.\n# values: {values_digest(values)}\n{body}"
    )
    return aside


def _change_current(overrides: Sequence[str], *, path: Path) -> None:
    """Change values of the file itself; as if by hand, so the old digest, if any, stays in it."""
    from omegaconf import OmegaConf

    read_yaml(path)  # names what is wrong with an absent or damaged file
    header = _HEADER.search(path.read_text(encoding="utf-8"))
    values = compose(path.stem, overrides, folder=path.parent)
    body = OmegaConf.to_yaml(OmegaConf.create(values))
    write_text(path, f"{header.group(0)}\n{body}" if header else body)
