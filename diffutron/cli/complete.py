"""What a shell offers for an argument that is begun (`diffutron --install-completion`)."""

from collections.abc import Callable, Iterable
from pathlib import Path

from diffutron.config.params import STAGES

SYSTEMS = Path("infra/systems.yaml")


def _offers(known: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """Those of the known names that begin so; none where they cannot be read."""

    def offer(incomplete: str) -> list[str]:
        from diffutron.runtime.errors import UserError

        try:
            return sorted(name for name in known() if name.startswith(incomplete))
        except (OSError, UserError):
            return []

    return offer


def _profiles() -> list[str]:
    from diffutron.operations.profiles import names

    return [*names(), "current"]


def _systems() -> list[str]:
    from diffutron.runtime.yaml_files import read_yaml

    return [system["name"] for system in read_yaml(SYSTEMS)["systems"]]


def _versions() -> list[str]:
    """Aliases and numbers of the registered versions; MLflow is asked where it has a store."""
    if not Path("mlflow.db").exists():
        return []
    from diffutron.registry.mlflow_client import tracking
    from diffutron.registry.promote import CHALLENGER, CHAMPION, NAME

    with tracking() as client:
        found = client.search_model_versions(f"name='{NAME}'")
    return [CHALLENGER, CHAMPION, *(str(one.version) for one in found)]


stages, profiles = _offers(lambda: STAGES), _offers(_profiles)
systems, versions = _offers(_systems), _offers(_versions)
