"""The sample of the default seed, made once for all tests of this folder."""

import pytest

from diffutron import sample

Rows = list[dict[str, str]]


@pytest.fixture(scope="session")
def documents() -> Rows:
    return sample.documents()


@pytest.fixture(scope="session")
def essays() -> Rows:
    return sample.essays()


@pytest.fixture(scope="session")
def phases() -> dict[int, Rows]:
    return {phase: sample.instructions(phase) for phase in (1, 2)}
