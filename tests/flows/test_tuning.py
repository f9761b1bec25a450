"""The flow `tune`: the command that the form becomes, and the card as an artifact."""

import json

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from flows.tuning import tune

pytestmark = pytest.mark.usefixtures("prefect_server")

STUB = """
import json, sys
from pathlib import Path
words = sys.argv[4:]
out = Path(words[words.index("--out") + 1])
out.mkdir()
(out / "words.json").write_text(json.dumps(sys.argv[1:]))
print("tune-mine: 1/2 (50 %), 1.0 step/s", flush=True)
if "broken" in " ".join(words):
    sys.exit("error: the gate refuses the model")
(out / "tune.json").write_text('{"before": {"exact": 0.0}, "after": {"exact": 0.75}}')
(out / "README.md").write_text("---\\nlibrary_name: transformers\\n---\\n\\n# the card")
"""


@pytest.fixture
def place(stub_command):
    return stub_command(STUB)


def artifact(key):
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
    with get_client(sync_client=True) as client:
        return max(client.read_artifacts(artifact_filter=wanted), key=lambda each: each.updated)


def test_the_form_becomes_the_command_and_the_card_an_artifact(place):
    state = tune(
        model="models/phase2",
        data="my.jsonl",
        out="mine",
        method="lora",
        language="tr",
        register_model=True,
        settings=["training.epochs=2", "seed=4"],
        return_state=True,
    )
    assert state.is_completed(), state.message
    assert json.loads((place / "mine" / "words.json").read_text()) == [
        "-m", "diffutron", "tune", "--model", "models/phase2", "--data", "my.jsonl", "--out",
        "mine", "--method", "lora", "--language", "tr", "--register", "-S", "training.epochs=2",
        "-S", "seed=4",
    ]  # fmt: skip
    card = artifact("tune")
    assert str(card.data).strip() == "# the card"
    assert card.description == "exact answers: 0.0 % before, 75.0 % after"
    assert float(str(artifact("tune-progress").data)) == 100


def test_a_failed_tuning_fails_the_run(place):
    state = tune(model="broken", data="my.jsonl", out="mine", return_state=True)
    assert state.is_failed()
    assert "the gate refuses the model" in state.message
    assert "the gate refuses the model" in str(artifact("tune-failure").data)
