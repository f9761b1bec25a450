"""PostgreSQL as Debian packs it: a private cluster that checks passwords, run by nobody."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest

from diffutron.training.hosts import free_port

from .processes import as_user, give, scratch

USER = "diffutron"
PASSWORD = "sifre8postgres"
NOBODY = 65534
SETTINGS = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off")


@dataclass(frozen=True)
class Postgres:
    """A cluster of one superuser."""

    folder: Path
    programs: Path
    port: int

    def address(self, database: str, scheme: str = "postgresql", password: str = PASSWORD) -> str:
        return f"{scheme}://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def run(self, program: str, *arguments: str) -> None:
        command = [*as_user(NOBODY), str(self.programs / program), *arguments]
        subprocess.run(command, cwd=self.folder, check=True, stdout=subprocess.DEVNULL)

    def start(self) -> None:
        options = " ".join(f"-c {one}" for one in (*SETTINGS, f"port={self.port}"))
        options += " -c shared_buffers=32MB"
        data, log = str(self.folder / "data"), str(self.folder / "log")
        self.run("pg_ctl", "-D", data, "-l", log, "-w", "-t", "60", "-o", options, "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-D", str(self.folder / "data"), "-m", "fast", "-w", "stop")

    def execute(self, statement: str) -> None:
        """A statement outside any transaction, as the first client of a new server gives it."""
        connection = psycopg2.connect(self.address("postgres"))
        connection.autocommit = True
        try:
            connection.cursor().execute(statement)
        finally:
            connection.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    assert found, "initdb not found; run `make test-infra`"
    with scratch("postgres", NOBODY) as folder:
        folder.chmod(0o700)
        cluster = Postgres(folder, found[-1].parent, free_port())
        secret = folder / "password"
        secret.write_text(PASSWORD)
        give(folder, NOBODY)
        how = ["-U", USER, "-A", "scram-sha-256", f"--pwfile={secret}", "--no-sync"]
        how += ["-E", "UTF8", "--locale=C.UTF-8"]
        cluster.run("initdb", "-D", str(folder / "data"), *how)
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop()
