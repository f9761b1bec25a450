"""A skipped test of real servers is a failure in CI, and nowhere else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TESTS = """
import pytest

@pytest.mark.infra
def test_servers():
    pytest.skip("nothing installed")

def test_kernel():
    pytest.skip("no such file")
"""


@pytest.mark.parametrize(
    ("ci", "outcome"), [("true", "1 failed, 1 skipped"), ("", "2 skipped")], ids=["ci", "at home"]
)
def test_what_a_skip_is(repo: Path, tmp_path: Path, ci: str, outcome: str) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", tmp_path]
        + ["-m", "", "-o", "markers=infra: real servers"],
        cwd=tmp_path,
        env={**os.environ, "CI": ci, "PYTHONPATH": str(repo)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome in done.stdout, done.stdout
    assert (done.returncode == 1) == (ci == "true")
