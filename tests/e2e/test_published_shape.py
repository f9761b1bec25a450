"""Profile `paper` at its full shape and vocabulary, with random weights, from a hub on loopback.

`make test-paper` runs it: two training steps a stage, and of each stage the seconds and the memory,
as a table and as JSON (`DIFFUTRON_FIGURES`). What the model says means nothing.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from diffutron.config.params import STAGES
from tests.support.fake_hub import serve
from tests.support.mmbert import VOCABULARY
from tests.support.project import CLONE, copy_project
from tests.support.published_hub import SCALED, write_published
from tests.support.usage import Usage, run_measured

pytestmark = [pytest.mark.paper, pytest.mark.timeout(4 * 3600)]
TRAININGS = ("pretrain", "instruct_phase1", "instruct_phase2")
# Small in the number of steps and items alone: shape, adapters and lengths are the published ones.
TWO_STEPS = (
    *SCALED,
    *(f"{stage}.training.steps=2" for stage in TRAININGS),
    *(f"{stage}.training.evaluate_every=2" for stage in TRAININGS),
    "pretrain.lora={rank: 256, alpha: 256, dropout: 0.0}",
    "evaluate.max_items=1", "evaluate.max_items_final=1", "evaluate.heldout_documents=2",
    "evaluate.instruction_rows=2", "evaluate.perplexity_text.documents=2", "evaluate.traces=0",
    "evaluate.generation={max_new_tokens: 8, num_steps: 8, block_length: 8, temperature: 0.1}",
)  # fmt: skip
# Read now: a test sees no variable of that prefix.
FIGURES = Path(os.environ.get("DIFFUTRON_FIGURES", "test-paper.json")).absolute()
NEEDED = 12 * 2**30  # bytes of free memory below which nothing is begun
NEEDED_DISK = 40 * 2**30


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for models of more than a gigabyte each, which does not outlive the test."""
    folder = tmp_path_factory.mktemp("paper")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def make_hub(folder: Path, profiles: Path) -> None:
    """In a process of its own, whose memory is given back."""
    code = "import sys; from pathlib import Path; from tests.support.mmbert import save_model"
    code += "; save_model(Path(sys.argv[1]), Path(sys.argv[2]))"
    made = folder.with_name("model")
    command = [sys.executable, "-c", code, str(made), str(profiles)]
    subprocess.run(command, env=os.environ | {"PYTHONPATH": str(CLONE)}, check=True)
    write_published(folder, made)
    shutil.rmtree(made)


def test_all_stages_of_the_published_shape(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    free = psutil.virtual_memory().available
    assert free > NEEDED, f"{free / 2**30:.1f} GiB of memory free; {NEEDED / 2**30:.0f} needed"
    assert shutil.disk_usage(place).free > NEEDED_DISK, f"{place}: 40 GiB of disk needed"
    project = copy_project(place / "project")
    make_hub(place / "hub", project / "infra/profiles")
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for arguments in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "as it is"]):
        subprocess.run(["git", *arguments], cwd=project, check=True)
    used: dict[str, Usage] = {}
    with serve(place / "hub") as hub:
        environment = os.environ | {
            "HF_ENDPOINT": hub.url,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(place / "cache"),
            "HF_HUB_OFFLINE": "0",
            "HF_DATASETS_OFFLINE": "0",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        compose = [sys.executable, "-m", "diffutron", "params", "--profile", "paper"]
        compose += [word for override in TWO_STEPS for word in ("-S", override)]
        subprocess.run(compose, cwd=project, env=environment, check=True)
        for stage in STAGES:
            command = [sys.executable, "-m", "dvc", "repro", "--single-item", stage]
            used[stage] = run_measured(
                command, cwd=project, env=environment, log=place / f"{stage}.log"
            )
            tell(used, capsys)
    check(project)


def tell(used: dict[str, Usage], capsys: pytest.CaptureFixture[str]) -> None:
    """The stages so far as JSON; the last one as a line on the screen."""
    FIGURES.write_text(json.dumps({stage: asdict(one) for stage, one in used.items()}, indent=1))
    with capsys.disabled():
        if len(used) == 1:
            print("\nstage              seconds   CPU s   peak GiB   largest process   processes")
        stage, one = [*used.items()][-1]
        print(
            f"{stage:16} {one.seconds:9.0f} {one.cpu_seconds:7.0f} {one.peak_bytes / 2**30:10.2f} "
            f"{one.largest_bytes / 2**30:17.2f} {one.processes:11}",
            flush=True,
        )


def check(project: Path) -> None:
    """The published shape, the published share of trained weights, a version in the registry."""

    def metrics(stage: str) -> dict:
        return json.loads((project / f"metrics/{stage}.json").read_text(encoding="utf-8"))

    assert metrics("tokenizer")["vocab_size"] == VOCABULARY
    assert metrics("backbone")["parameters"] == pytest.approx(307e6, rel=0.01)
    assert metrics("pretrain")["trainable_share"] == pytest.approx(0.1494, abs=5e-5)
    for stage in TRAININGS:
        assert metrics(stage)["steps"] == 2
    registered = json.loads((project / "registry/registered.json").read_text(encoding="utf-8"))
    assert str(registered["version"]) == "1"
