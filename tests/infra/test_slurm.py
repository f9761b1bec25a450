"""The sbatch files on a real Slurm of one machine: requeued midway, the weights are equal."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.kill import newest, weights
from benchmarks.parts.tiny_project import select, write_params
from diffutron.runtime.yaml_files import read_yaml
from tests.support.processes import wait_for

from .conftest import need, output

pytestmark = pytest.mark.infra
STEPS = 400


@pytest.fixture(scope="module")
def project(tmp_path_factory, tiny_project):
    folder = shutil.copytree(tiny_project, tmp_path_factory.mktemp("slurm") / "project")
    values = read_yaml(folder / "params.yaml")
    values["pretrain"]["training"]["steps"] = STEPS
    write_params(folder, values)
    return folder


@pytest.fixture
def submit(slurm, repo, project):
    """`submit("pretrain")`: the number of a job that trains the stage in the project."""
    need("sbatch", "scontrol")
    environment = slurm | {"DIFFUTRON_PYTHON": sys.executable, "DIFFUTRON_RANKS": "2"}
    environment |= {"PYTHONPATH": str(repo), "OMP_NUM_THREADS": "1"}

    def call(stage: str) -> str:
        script = str(repo / "infra/slurm/train.sbatch")
        done = subprocess.run(
            ["sbatch", "--parsable", script, stage],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    return call


def state(job: str, slurm: dict[str, str]) -> str:
    shown = output(["scontrol", "show", "job", job], slurm)
    return shown.split("JobState=")[1].split()[0] if "JobState=" in shown else "GONE"


def log(project: Path, job: str) -> str:
    return (project / f"slurm-diffutron-{job}.log").read_text()


def ended(job: str, slurm: dict[str, str]) -> str:
    final = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "GONE")
    return wait_for(
        lambda: state(job, slurm) if state(job, slurm) in final else "",
        seconds=900,
        what=f"the end of job {job}",
    )


@pytest.mark.timeout(2400)
def test_a_requeued_training_ends_with_the_weights_of_an_undisturbed_one(slurm, project, submit):
    select(project, "pretrain", 2)
    whole = submit("pretrain")
    assert ended(whole, slurm) == "COMPLETED", log(project, whole)
    undisturbed = weights(project, "pretrain")
    shutil.rmtree(project / "models/adapter")

    job = submit("pretrain")
    wait_for(lambda: newest(project) >= 40, seconds=600, what="step 40")
    subprocess.run(["scontrol", "requeue", job], env=slurm, check=True)
    wait_for(lambda: state(job, slurm) == "PENDING", seconds=60, what="the requeue")
    assert not (project / "models/adapter").exists()
    assert ended(job, slurm) == "COMPLETED", log(project, job)
    told = log(project, job)
    assert f"job {job}, start 1: pretrain on n1, 2 ranks a node" in told
    assert f"job {job}, start 2: pretrain" in told
    assert "pretrain: resumed at step" in told
    assert weights(project, "pretrain") == undisturbed


def test_an_unknown_stage_is_told(slurm, project, submit):
    job = submit("merge")
    assert ended(job, slurm) == "FAILED"
    assert "error: merge is no training stage; choose backbone, pretrain" in log(project, job)
