"""Two hosts train together; one is cut off and comes back, or never does."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from benchmarks.kill import newest, weights
from benchmarks.parts.tiny_project import write_params
from diffutron.planning.model_cost import communication_bytes
from diffutron.runtime.yaml_files import read_yaml
from tests.support.processes import wait_for

from .conftest import need
from .two_hosts import Host, torchrun, two_hosts

pytestmark = pytest.mark.infra
STEPS, EVERY, TIMEOUT = 200, 10, 10
TRAINING = {
    "steps": STEPS,
    "epochs": None,
    "batch_size": 8,
    "packed_length": 32,
    "micro_batch_rows": 2,  # two micro-batches a step
    "checkpoint_every": EVERY,
    "evaluate_every": STEPS,
    "evaluate_samples": 8,
}
SENTENCE_TOKENS = 30


@pytest.fixture(scope="module")
def hosts():
    need("ip")
    with two_hosts() as made:
        yield made


@pytest.fixture(scope="module")
def project(tmp_path_factory, tiny_model_dir, repo):
    """What `pretrain` needs, on a file system that both hosts see."""
    folder = tmp_path_factory.mktemp("two-hosts")
    shutil.copytree(tiny_model_dir, folder / "models/backbone")
    corpus, draw = folder / "data/corpus", np.random.default_rng(1)
    corpus.mkdir(parents=True)
    for split, number in (("train", 64), ("heldout", 16)):
        ids = draw.integers(20, 60, number * SENTENCE_TOKENS).astype(np.uint16)
        np.save(corpus / f"{split}_ids.npy", ids)
        np.save(corpus / f"{split}_bounds.npy", np.arange(number + 1) * SENTENCE_TOKENS)
    return folder


@pytest.fixture(scope="module")
def environment(repo):
    return {
        "PYTHONPATH": str(repo),
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        "DIFFUTRON_COLLECTIVE_TIMEOUT": str(TIMEOUT),
    }


@pytest.fixture
def alone(project, environment, repo):
    """`alone(2)`: parameters with that ZeRO stage, and the weights of two ranks on one host."""

    def train(zero: int) -> str:
        values = read_yaml(repo / "infra/profiles/demo.yaml")
        values["pretrain"]["training"] |= TRAINING | {"zero_stage": zero}
        write_params(project, values)
        done = subprocess.run(
            [sys.executable, "-m", "diffutron", "pretrain"],
            cwd=project,
            env={**os.environ, **environment, "DIFFUTRON_RANKS": "2"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        trained = weights(project, "pretrain")
        shutil.rmtree(project / "models/adapter")
        return trained

    return train


@pytest.fixture
def start(hosts, project, environment):
    """`start("job", command)`: `command(host)` on both hosts at once."""

    def call(
        job: str, command: "Callable[[Host], list[str]]", **more: str
    ) -> "list[subprocess.Popen[bytes]]":
        return [
            host.start(
                command(host),
                cwd=project,
                env=environment | more,
                log=project / f"{job}-{host.interface}.log",
            )
            for host in hosts
        ]

    yield call
    for host in hosts:
        host.end()


def told(project, job: str) -> str:
    return "\n".join(log.read_text() for log in sorted(project.glob(f"{job}-*.log")))


def sent_a_step(hosts, project, *, first: int, last: int) -> list[float]:
    """Bytes on the wire a step, from each host, between two checkpoints."""
    seen = []
    for step in (first, last):
        wait_for(lambda step=step: newest(project) >= step, seconds=300, what=f"step {step}")
        before = newest(project)
        while newest(project) == before:  # the training has gone on since: the next one, at once
            time.sleep(0.005)
        seen.append((newest(project), [host.bytes_sent() for host in hosts]))
    (begin, before), (end, after) = seen
    return [(b - a) / (end - begin) for a, b in zip(before, after, strict=True)]


def planned(zero: int, project) -> int:
    """What `diffutron plan` says of these bytes."""
    trainable = elements(project / "models/adapter/adapter_model.safetensors")
    return communication_bytes(
        trainable=trainable,
        whole=trainable + elements(project / "models/backbone/model.safetensors"),
        cut=0,  # every weight is below DeepSpeed's threshold
        stage=zero,
        ranks=2,
        weight_bytes=4,
        micro_batches=2,
    )


def elements(file: Path) -> int:
    return sum(weight.numel() for weight in load_file(file).values())


def codes(processes, *, seconds: float) -> list[int]:
    end = time.monotonic() + seconds
    return [process.wait(max(1.0, end - time.monotonic())) for process in processes]


@pytest.mark.timeout(1200)
def test_a_host_that_was_cut_off_comes_back_and_the_training_ends_the_same(
    hosts, project, alone, start
):
    undisturbed = alone(2)
    meeting = {"DIFFUTRON_HOSTS": "2", "DIFFUTRON_HEAD": f"{hosts[0].address}:29400"}
    pretrain = [sys.executable, "-m", "diffutron", "pretrain"]
    processes = start("back", lambda _: pretrain, **meeting, DIFFUTRON_RANKS="1")
    sent = sent_a_step(hosts, project, first=2 * EVERY, last=12 * EVERY)
    hosts[1].link("down")
    cut = newest(project)
    wait_for(lambda: "waited for another one" in told(project, "back"), seconds=60, what="a cut")
    time.sleep(3)
    assert newest(project) - cut <= EVERY  # nothing goes on without the other host
    hosts[1].link("up")
    assert codes(processes, seconds=300) == [0, 0], told(project, "back")
    assert "pretrain: resumed at step" in told(project, "back")
    assert weights(project, "pretrain") == undisturbed
    assert all(0.98 <= one / planned(2, project) < 1.1 for one in sent), sent  # headers


@pytest.mark.timeout(1200)
def test_a_launcher_that_is_cut_off_for_good_ends_and_the_next_one_goes_on(
    hosts, project, alone, start
):
    undisturbed = alone(3)

    def by_torchrun(job: str, *, restarts: int = 5, grace: int = 60):
        return start(
            job, lambda host: torchrun(host, hosts[0], job=job, restarts=restarts, grace=grace)
        )

    processes = by_torchrun("gone", restarts=0, grace=5)
    sent = sent_a_step(hosts, project, first=2 * EVERY, last=12 * EVERY)
    states = [file.stat().st_size for file in project.glob("checkpoints/*/step-*/*optim_states.pt")]
    hosts[1].link("down")
    cut = time.monotonic()
    found = codes(processes, seconds=TIMEOUT + 120)
    assert time.monotonic() - cut < TIMEOUT + 120
    assert 0 not in found, told(project, "gone")
    assert not (project / "models/adapter").exists()

    saved = newest(project)
    hosts[1].link("up")
    assert codes(by_torchrun("next"), seconds=300) == [0, 0], told(project, "next")
    assert f"pretrain: resumed at step {saved} of {STEPS}" in told(project, "next")
    assert weights(project, "pretrain") == undisturbed
    # Each weight is gathered by itself: here many of them are small, next to their headers.
    assert all(0.98 <= one / planned(3, project) < 1.3 for one in sent), sent
    share = 12 * elements(project / "models/adapter/adapter_model.safetensors") / 2
    assert states
    assert all(1 <= one / share < 1.1 for one in states), states
