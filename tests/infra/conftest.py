"""Real services on this machine, each on free ports and in a folder of its own."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.parts.tiny_project import make_project
from diffutron.training.hosts import free_port
from tests.support.processes import wait_for

SLURM = """
ClusterName=t
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={ctld}
SlurmdPort={d}
AuthType=auth/munge
AuthInfo=socket={dir}/run/munge.sock,cred_expire=5
CredType=cred/munge
StateSaveLocation={dir}/state
SlurmdSpoolDir={dir}/spool
SlurmctldPidFile={dir}/run/slurmctld.pid
SlurmdPidFile={dir}/run/slurmd.pid
SlurmctldLogFile={dir}/log/slurmctld.log
SlurmdLogFile={dir}/log/slurmd.log
ProctrackType=proctrack/{proctrack}
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0,sched_interval=2
ReturnToService=2
KillWait=5
PropagateResourceLimits=NONE
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=2000 State=UNKNOWN
PartitionName=p Nodes=n1 Default=YES MaxTime=INFINITE State=UP
"""
CGROUP = """
CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
CgroupAutomount=no
ConstrainCores=no
ConstrainRAMSpace=no
"""


@pytest.fixture(scope="session")
def tiny_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of the real stages up to the instructions; a test works in a copy of it."""
    made = make_project(tmp_path_factory.mktemp("tiny-project"), steps=40)
    assert (made / "data/instructions/phase2_train.parquet").exists()
    return made


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which `sbatch` speaks to a Slurm of one node, this machine."""
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("etc", "run", "log", "state", "spool"):
        (folder / name).mkdir()
    cgroups = Path("/sys/fs/cgroup/freezer").is_dir()
    settings = {"ctld": free_port(), "d": free_port(), "dir": folder, "cpus": os.cpu_count()}
    settings["proctrack"] = "cgroup" if cgroups else "linuxproc"
    (folder / "etc/slurm.conf").write_text(SLURM.format(**settings))
    (folder / "etc/cgroup.conf").write_text(CGROUP)
    key = folder / "etc/munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    environment = {**os.environ, "SLURM_CONF": str(folder / "etc/slurm.conf")}
    munge = ["munged", f"--key-file={key}", f"--socket={folder}/run/munge.sock", "--force"]
    munge += [f"--pid-file={folder}/run/munged.pid", f"--log-file={folder}/log/munged.log"]
    munge += [f"--seed-file={folder}/etc/munge.seed"]
    try:
        for command in (munge, ["slurmctld", "-c"], ["slurmd", "-c", "-N", "n1"]):
            subprocess.run(command, env=environment, check=True)
        wait_for(
            lambda: "idle" in output(["sinfo", "-h", "-o", "%T"], environment),
            seconds=60,
            what="an idle node",
        )
        yield environment
    finally:
        for name in ("slurmd", "slurmctld", "munged"):
            stop(folder / "run" / f"{name}.pid")


def output(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.stdout


def stop(pid_file: Path) -> None:
    if pid_file.exists():
        subprocess.run(["kill", pid_file.read_text().strip()], check=False)


def need(*programs: str) -> None:
    """Fail with what to install: here nothing may be skipped."""
    missing = [program for program in programs if shutil.which(program) is None]
    assert not missing, f"{', '.join(missing)} not found; run `make test-infra`"


# A file a service; below, because they use what is above.
from .services.postgres import postgres  # noqa: E402, F401
from .services.s3 import moto, swift  # noqa: E402, F401
from .services.team import team  # noqa: E402, F401
