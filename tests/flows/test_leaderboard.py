"""The flow `leaderboard`: the command it runs, the table as an artifact, a failed check told."""

import json

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

import flows.leaderboard
from flows.leaderboard import leaderboard

pytestmark = pytest.mark.usefixtures("prefect_server")

STUB = """
import json, sys
from pathlib import Path
words = sys.argv[4:]
out = Path(words[words.index("--out") + 1])
out.mkdir()
(out / "words.json").write_text(json.dumps(sys.argv[1:]))
(out / "leaderboard.md").write_text("# the table")
print("leaderboard: 1/2 (50 %), 1.0 item/s", flush=True)
if "broken" in " ".join(words):
    sys.exit("error: 1 sanity checks failed; the first: tiny, ironytr")
"""


@pytest.fixture
def place(stub_command):
    return stub_command(STUB)


def artifact(key):
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=wanted)
    return str(max(found, key=lambda each: each.updated).data)


def test_the_form_becomes_the_command_and_the_table_an_artifact(place):
    state = leaderboard(only="random,bow", protocol="both", limit=5, return_state=True)
    assert state.is_completed()
    words = json.loads((place / "leaderboard" / "words.json").read_text())
    assert words == [
        "-m", "diffutron", "leaderboard", "--only", "random,bow", "--protocol", "both",
        "--limit", "5", "--shots", "0", "--out", "leaderboard",
    ]  # fmt: skip
    assert artifact("leaderboard") == "# the table"
    assert artifact("leaderboard-page").endswith("/leaderboard/leaderboard.html)")
    assert float(artifact("leaderboard-progress")) == 100


def test_a_failed_check_fails_the_run_and_keeps_the_table(place):
    state = leaderboard(only="broken", return_state=True)
    assert state.is_failed()
    assert "sanity checks failed" in state.message
    assert artifact("leaderboard") == "# the table"
    assert "sanity checks failed" in artifact("leaderboard-failure")


def test_a_run_that_ends_before_its_table_has_none(place):
    flows.leaderboard.publish(place / "nowhere")
