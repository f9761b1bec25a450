"""A project that was moved or copied keeps its registry: the files lie beside the database."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from diffutron.runtime.errors import UserError

ARTIFACTS = "mlartifacts"  # beside the database file
# MLflow writes places as whole addresses into these columns.
_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("model_versions", "source"),
)


def follow_move(database: Path) -> None:
    """Let the addresses in a database file name the `mlartifacts` that lies beside it now.

    So nothing is read from where the project was, and a copy never writes into the original.

    Raises:
        UserError: the addresses would have to change, and the file cannot be written.
    """
    here = database.resolve().parent / ARTIFACTS
    if not here.is_dir():
        return
    with closing(sqlite3.connect(database)) as connection:
        for root in _roots(connection) - {here.as_uri()}:
            try:
                with connection:
                    _replace(connection, root, here.as_uri())
            except sqlite3.OperationalError as error:
                raise UserError(
                    f"{database} names files in {root}, since the project was moved or copied, "
                    f"and cannot be changed ({error}); use a copy of your own"
                ) from error
            print(f"the registry now reads {here}, not {root}", file=sys.stderr, flush=True)


def _replace(connection: sqlite3.Connection, old: str, new: str) -> None:
    for table, column in _PLACES:
        connection.execute(
            f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
            f" WHERE {column} = ? OR substr({column}, 1, ?) = ?",
            (new, len(old) + 1, old, len(old) + 1, f"{old}/"),
        )


def _roots(connection: sqlite3.Connection) -> set[str]:
    """Where the experiments keep their files, as far as it was a folder `mlartifacts`.

    What is no database of MLflow has none; MLflow itself says what is wrong with it.
    """
    try:
        found = connection.execute("SELECT artifact_location FROM experiments").fetchall()
    except sqlite3.DatabaseError:
        return set()
    roots = {place for (place,) in found if place}
    return {root for root in roots if root.startswith("file:///") and Path(root).name == ARTIFACTS}
