"""The flow `sweep`: the command that the form becomes, and the tables as an artifact."""

import json
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from flows.sweeping import sweep

pytestmark = pytest.mark.usefixtures("prefect_server")

STUB = """
import json, sys
from pathlib import Path
words = sys.argv[4:]
out = Path(words[words.index("--out") + 1])
out.mkdir(parents=True)
(out / "words.json").write_text(json.dumps(sys.argv[1:]))
print("sweep: 1/2 (50 %), 1.0 run/s", flush=True)
if "broken" in " ".join(words):
    sys.exit("error: backbone: the loss at step 3 is nan")
(out / "sweep.json").write_text(Path("found.json").read_text())
(out / "sweep.html").write_text("<p>curves</p>")
"""


@pytest.fixture
def place(stub_command) -> Path:
    """A folder with what a sweep has found, which the stub writes down."""
    folder = stub_command(STUB)
    arm = {"mean": 1.5, "sd": 0.1, "n": 3, "difference": None, "interval": None, "p": None}
    other = {"mean": 1.4, "sd": 0.1, "n": 3, "difference": -0.1, "interval": [-0.2, 0.0], "p": 0.02}
    arms = {"base": arm | {"verdict": None}, "muon": other | {"verdict": "cannot be told"}}
    found = {
        "measure": "loss",
        "best": "muon",
        "pooled_sd": {"loss": 0.1},
        "degrees_of_freedom": {"loss": 2},
        "arms": {
            name: {"measures": {"loss": one}, "cpu_seconds": 10, "tokens": 100}
            for name, one in arms.items()
        },
    }
    (folder / "found.json").write_text(json.dumps(found))
    return folder


def artifact(key: str):
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
    with get_client(sync_client=True) as client:
        return max(client.read_artifacts(artifact_filter=wanted), key=lambda each: each.updated)


def test_the_form_becomes_the_command_and_the_tables_an_artifact(place):
    state = sweep(file="mine/try.yaml", workers=2, return_state=True)
    assert state.is_completed(), state.message
    assert json.loads((place / "sweeps" / "try" / "words.json").read_text()) == [
        "-m", "diffutron", "sweep", "mine/try.yaml", "--workers", "2", "--out", "sweeps/try",
    ]  # fmt: skip
    shown = artifact("sweep")
    assert "| muon * | 1.4 | 0.1 | 3 | -0.1000 | -0.2000 to +0.0000 | 0.02 |" in str(shown.data)
    assert shown.description == "the best arm is muon"
    assert float(str(artifact("sweep-progress").data)) == 100


def test_a_failed_arm_fails_the_run(place):
    state = sweep(file="broken.yaml", out="out", return_state=True)
    assert state.is_failed()
    assert "the loss at step 3 is nan" in state.message
