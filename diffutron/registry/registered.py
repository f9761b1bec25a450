"""The version that the stage `register` made last, and what the registry says of it now."""

from dataclasses import dataclass
from pathlib import Path

from diffutron.registry.mlflow_client import tracking
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import read_json
from diffutron.runtime.mlflow_errors import NoStoreError

REGISTERED = Path("registry/registered.json")


@dataclass(frozen=True)
class Registered:
    """A version by the file of the stage; a registry in which it was deleted holds it no more."""

    name: str
    version: int
    run_id: str

    def __str__(self) -> str:
        return f"version {self.version} of {self.name}"

    def aliases(self) -> list[str] | None:
        """The aliases that the version has in the registry now; None where it is gone.

        A model that was deleted and made again counts from 1: a version that another run made is
        another version.

        Raises:
            UserError: a registry that does not answer.
        """
        try:
            with tracking() as client:
                known = client.search_model_versions(f"name='{self.name}'")
                made = {int(one.version): one.tags.get("run_id") for one in known}
                if made.get(self.version) != self.run_id:
                    return None
                named = client.get_registered_model(self.name).aliases
        except NoStoreError:
            return None
        return sorted(alias for alias, number in named.items() if int(number) == self.version)


def last_registered(path: Path = REGISTERED) -> Registered | None:
    """What the last run of the stage registered; None where the gate refused it, or none ran."""
    if not path.exists():
        return None
    found = read_json(path)
    if not found["registered"]:
        return None
    return Registered(found["name"], int(found["version"]), found["run_id"])


def require_last_registered(name: str) -> int:
    """The version of the model `name` that the last build registered.

    Raises:
        UserError: there is none, it is gone from the registry, or the registry does not answer.
    """
    found = last_registered()
    if found is None or found.name != name:
        raise UserError(f"{REGISTERED} names no version of {name}: run `build`, or give a version")
    if found.aliases() is None:
        raise UserError(
            f"{found}, which the last build registered, is gone from the registry: run `build`, "
            "which registers it again, or give a version"
        )
    return found.version
