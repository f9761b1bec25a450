"""An alias of a registered model, as the server follows it."""

from pathlib import Path

from diffutron.registry.export import download, verified
from diffutron.registry.mlflow_client import tracking
from diffutron.registry.promote import resolve
from diffutron.runtime.errors import UserError


class Alias:
    """`models:/NAME@ALIAS`."""

    def __init__(self, uri: str) -> None:
        self.name, _, self.alias = uri.removeprefix("models:/").rpartition("@")

    def version(self) -> int:
        """The version that the alias names now. Raises UserError."""
        with tracking() as client:
            return resolve(client, self.name, self.alias)

    def download(self, version: int, folder: Path) -> Path:
        """The model folder of a version, below `folder`. Raises UserError."""
        try:
            return download(version, folder, name=self.name)
        except OSError as error:
            raise UserError(f"{self.name} version {version}: {error}") from error

    def verify(self, version: int, model: Path) -> None:
        """Raises UserError for a damaged, missing or foreign file."""
        verified(model, what=f"{self.name} version {version}")
