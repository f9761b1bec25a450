"""Ranks: how many there are, who starts them, and what one of them knows.

On one machine the command starts itself in each rank through torchrun's own launcher, in this
process; on several it becomes torchrun; under an outer one it finds itself to be a rank already.
"""

import ctypes
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from diffutron.runtime.errors import StageFailure, UserError
from diffutron.training.hosts import this_host

if TYPE_CHECKING:
    import torch
    from torch import Tensor

ERRORS = "DIFFUTRON_RANK_ERRORS"  # folder in which a rank leaves the reason of its end
LAUNCHER = "DIFFUTRON_LAUNCHER_PID"
COLLECTIVE_TIMEOUT = "DIFFUTRON_COLLECTIVE_TIMEOUT"  # seconds; a fact of the machine
# NVIDIA (two places), ROCm, and either of them under WSL.
DRIVERS = ("/proc/driver/nvidia", "/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
MEETING = timedelta(minutes=10)  # in which all ranks of a start must have come
_TIMED_OUT = re.compile(r"timed out|wait timeout", re.IGNORECASE)
_PR_SET_PDEATHSIG = 1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


@dataclass(frozen=True)
class Ranks:
    """This process among the ranks of a training."""

    rank: int
    world_size: int
    device: "torch.device"

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def all_reduce(self, values: "Tensor") -> "Tensor":
        """The sum over all ranks, element by element; `values` is changed."""
        if self.world_size > 1:
            import torch.distributed as dist

            dist.all_reduce(values)
        return values

    def broadcast(self, value: Any) -> Any:
        """What the first rank holds."""
        if self.world_size == 1:
            return value
        import torch.distributed as dist

        box = [value]
        dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.world_size > 1:
            import torch.distributed as dist

            dist.barrier()


def num_ranks(*, ranks_on_cpu: int) -> int:
    """`DIFFUTRON_RANKS`, else the number of GPUs, else what the stage gains from on a CPU."""
    given = os.environ.get("DIFFUTRON_RANKS")
    if given is not None:
        if not given.isdecimal() or int(given) < 1:
            raise UserError(f"DIFFUTRON_RANKS={given!r}: give the number of ranks, 1 or more")
        return int(given)
    return _num_gpus() or ranks_on_cpu


def _num_gpus() -> int:
    """Without torch on a machine that has no driver of a GPU: its import takes seconds."""
    if not any(Path(file).exists() for file in DRIVERS):
        return 0
    import torch  # cuda only

    return torch.cuda.device_count()  # cuda only


def launch_ranks(argv: Sequence[str], *, ranks_on_cpu: int) -> bool:
    """Run `python -m diffutron ARGV` in each rank and wait; False where this process does the work.

    With other hosts (`training.hosts`) this process becomes their common launcher's part here.
    A rank's `UserError` or `StageFailure` is raised here again; one that died otherwise is a
    `StageFailure` that names it. On SIGTERM and SIGINT the ranks end first (TERM, 30 s, KILL).
    """
    if "RANK" in os.environ:
        return False
    number = num_ranks(ranks_on_cpu=ranks_on_cpu)
    if hosts := this_host():
        os.environ.setdefault("OMP_NUM_THREADS", _threads(number))
        launcher = hosts.torchrun(argv, ranks=number)
        os.execve(launcher[0], launcher, {**os.environ, **hosts.environment()})
    if number == 1:
        return False
    with tempfile.TemporaryDirectory(prefix="diffutron-ranks-") as errors:
        os.environ.setdefault("OMP_NUM_THREADS", _threads(number))
        os.environ.update({ERRORS: errors, LAUNCHER: str(os.getpid())})
        run_elastic([sys.executable, "-u", "-m", "diffutron", *argv], number, Path(errors))
    return True


def _threads(number: int) -> str:
    """Of each of so many ranks on this machine."""
    return str(max(1, len(os.sched_getaffinity(0)) // number))


def run_elastic(command: Sequence[str], number: int, errors: Path) -> None:
    import logging

    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=number,
        run_id=f"diffutron-{os.getpid()}",
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        max_restarts=0,
        monitor_interval=0.1,
    )
    try:
        elastic_launch(config, command[0])(*command[1:])
    except SignalException as stopped:
        raise SystemExit(128 + int(stopped.sigval)) from None
    except ChildFailedError as failed:
        _raise_reason(errors, failed)


def _raise_reason(errors: Path, failed: Any) -> NoReturn:
    for file in sorted(errors.glob("*.json")):
        reason = json.loads(file.read_text(encoding="utf-8"))
        kind = UserError if reason["kind"] == "UserError" else StageFailure
        raise kind(reason["message"]) from None
    rank, failure = failed.get_first_failure()
    code = failure.exitcode
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    if code == -signal.SIGABRT:
        how += ", which NCCL does to a rank that has waited too long for another one"
    raise StageFailure(
        f"rank {rank} (process {failure.pid}) {how}; "
        "the same command goes on from the last checkpoint"
    ) from None


@contextmanager
def training_process() -> Iterator[Ranks]:
    """Join the other ranks (or none) for the length of the block.

    In a rank that a launcher of ours started, an error of the user's is left to the launcher to
    print, once for all ranks, and the rank dies with its launcher.
    """
    import torch.distributed as dist

    from diffutron.modeling.compiled import compile_if_possible

    die_with_launcher()
    keep_freed_memory()
    alone_before = dist.is_initialized()
    try:
        with explain_collectives(), compile_if_possible():
            yield _join()
    except (UserError, StageFailure) as error:
        if ERRORS not in os.environ:
            raise
        reason = {"kind": type(error).__name__, "message": str(error)}
        file = Path(os.environ[ERRORS]) / f"{int(os.environ['RANK']):06}.json"
        file.write_text(json.dumps(reason), encoding="utf-8")
        raise SystemExit(2) from None
    finally:
        # A group of one stays: DeepSpeed remembers it for the life of the process.
        if dist.is_initialized() and "RANK" in os.environ and not alone_before:
            dist.destroy_process_group()


def collective_timeout() -> float:
    """Seconds that a rank waits for the others before it gives up."""
    given = os.environ.get(COLLECTIVE_TIMEOUT, "300")
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 86_400:
        raise UserError(f"{COLLECTIVE_TIMEOUT}={given!r}: give seconds, above 0 and below a day")
    return seconds


def limit_collectives() -> None:
    """Let every group of ranks give up in time; those that DeepSpeed makes wait half an hour."""
    from torch.distributed import distributed_c10d as c10d

    limit = timedelta(seconds=collective_timeout())
    for group in c10d._world.pg_map:
        c10d._set_pg_timeout(limit, group)


@contextmanager
def explain_collectives() -> Iterator[None]:
    """What the communication library says of a rank that hangs or is gone, in words."""
    try:
        yield
    except RuntimeError as error:
        if "RANK" not in os.environ or not _TIMED_OUT.search(str(error)):
            raise
        raise StageFailure(
            f"rank {os.environ['RANK']} waited for another one that is idle or gone "
            f"(collective_timeout {collective_timeout():g} s, {COLLECTIVE_TIMEOUT}): "
            f"{str(error).strip().splitlines()[0][:200]}; the same command goes on from the last "
            "checkpoint"
        ) from error


def die_with_launcher() -> None:
    """A rank is the leader of its own session, so no signal to its launcher's group reaches it."""
    launcher = os.environ.get(LAUNCHER)
    if launcher is None or sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(launcher):  # it died before the call above
        raise SystemExit(1)


def keep_freed_memory() -> None:
    """Let glibc keep what tensors of up to 32 MiB have freed, for the next ones.

    By default each such tensor is mapped, filled with zeros and unmapped by the kernel, every time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 2**25)  # the largest that it takes
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def _join() -> Ranks:
    import torch

    device = torch.device("cpu")
    if torch.cuda.is_available():
        local, number = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if local >= number:
            raise UserError(
                f"rank {local} of this machine has no GPU, since there are {number}; start at most "
                f"{number} ranks (DIFFUTRON_RANKS)"
            )
        device = torch.device("cuda", local)  # cuda only
        torch.cuda.set_device(device)  # cuda only
    import torch.distributed as dist

    backend = "nccl" if device.type == "cuda" else "gloo"
    if dist.is_initialized():
        pass  # alone, and not for the first time in this process
    elif "RANK" in os.environ:
        # Ranks come at different times, since the imports of one may take a minute longer.
        dist.init_process_group(backend, timeout=MEETING)
        limit_collectives()
    else:
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    return Ranks(dist.get_rank(), dist.get_world_size(), device)
