"""Makes `registry-0.1.tar.gz`: what the code of release 0.1 left in a registry.

    git worktree add /tmp/old b43deff            # the last commit of 0.1's layout
    cd /tmp/old && python -m pip install -e . && python .../tests/golden/make_registry.py OUT.tar.gz

Two tiny versions, made by that code with the builds of its own tests: the first is promoted, the
second too, against a gate that fails; then a rollback. Absolute paths are replaced by `ROOT`;
`unpack` puts a folder of its own there.
"""

import gzip
import io
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = "/registry-0.1"
COMMIT = "b43deff"
WANTED = "DIFFUTRON_GOLDEN_REGISTRY"  # where the test below, run inside the old checkout, writes


def test_make_registry(tmp_path, monkeypatch, tiny_model_dir, empty_store, demo_values):
    """Not a test of this repository: `main` copies this file into the old checkout and runs it."""
    from diffutron.params import parse_params
    from diffutron.registry.judgement import judge

    from diffutron import provenance
    from diffutron.registry.promote import promote, rollback
    from diffutron.registry.register import register

    from .conftest import good_summary, model_numbers, write_build

    checkout, project = Path.cwd(), tmp_path / "project"
    project.mkdir()
    shutil.copyfile(empty_store, project / "mlflow.db")
    made_from = provenance.code()
    monkeypatch.setattr(provenance, "code", lambda: provenance.Code(made_from.sha, dirty=False))
    monkeypatch.chdir(project)
    worse = good_summary()
    worse["models"]["phase2"] = model_numbers(p_value=1e-9, acc=0.65, bits=0.65)
    for number, summary in enumerate([good_summary(), worse], 1):
        paths = write_build(tmp_path / f"build{number}", summary, tiny_model_dir)
        register(parse_params(demo_values, origin="demo"), **paths)
    promote(1, by="kurul", reason="first", over=0, evidence=judge(1, serve=False).as_evidence())
    found = judge(2, serve=False).as_evidence()
    assert not found["holds"]
    promote(2, by="Ayşe", reason="cheaper", over=1, evidence=found, against_gate=True)
    rollback(by="kurul", reason="it answers worse")
    replace_paths(project, str(project), ROOT)
    replace_paths(project, str(checkout), "/checkout")
    write_archive(project, Path(os.environ[WANTED]))


def replace_paths(folder: Path, old: str, new: str) -> None:
    """In the database and in the small text files that MLflow keeps beside a model."""
    with sqlite3.connect(folder / "mlflow.db") as base:
        tables = [
            name for (name,) in base.execute("select name from sqlite_master where type='table'")
        ]
        for table in tables:
            for _, column, kind, *_ in base.execute(f"pragma table_info('{table}')").fetchall():
                if kind.upper().startswith(("VARCHAR", "TEXT")):
                    base.execute(
                        f'update "{table}" set "{column}" = replace("{column}", ?, ?) '
                        f'where "{column}" like ?',
                        (old, new, f"%{old}%"),
                    )
    base.close()
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix in {"", ".yaml", ".yml"}:
            text = path.read_text(encoding="utf-8")
            if old in text:
                path.write_text(text.replace(old, new), encoding="utf-8")


def write_archive(folder: Path, out: Path) -> None:
    """Without times and owners, so that it differs only where its files do."""
    with sqlite3.connect(folder / "mlflow.db") as base:
        base.execute("vacuum")
    base.close()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
                entry.size, entry.mode = path.stat().st_size, 0o644
                archive.addfile(entry, io.BytesIO(path.read_bytes()))
    out.write_bytes(gzip.compress(packed.getvalue(), mtime=0))


def unpack(archive: Path, folder: Path) -> None:
    """The registry in a folder, where it is ready to be read."""
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    replace_paths(folder, ROOT, str(folder))


def main() -> None:
    out = Path(sys.argv[1]).resolve()
    here = Path(__file__).resolve()
    target = Path("tests/registry/test_make_registry.py")
    at = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    if not at.stdout.startswith(COMMIT):
        raise SystemExit(f"run this in a checkout of {COMMIT}, not of {at.stdout.strip()}")
    shutil.copyfile(here, target)
    try:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(target)]
        subprocess.run(command, env={**os.environ, WANTED: str(out)}, check=True)
    finally:
        target.unlink()
    print(f"{out}: {out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
