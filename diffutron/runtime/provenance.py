"""What a result was made from: code, parameters, data and machine, as fingerprints."""

import hashlib
import os
import platform
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from diffutron.runtime.errors import UserError
from diffutron.runtime.git import git
from diffutron.runtime.yaml_files import read_yaml

LIBRARIES = ("torch", "transformers", "peft", "deepspeed", "lm-eval", "tokenizers")
LOCK = Path("dvc.lock")
# The parameters travel with a run, so that a changed file needs no commit.
_WRITTEN_BY_RUNS = (":(exclude)dvc.lock", ":(exclude)metrics", ":(exclude)params.yaml")


@dataclass(frozen=True)
class Code:
    """The commit that ran; None where the folder is no git checkout."""

    sha: str | None
    dirty: bool | None


@dataclass(frozen=True)
class Machine:
    """The computer that made a report, in words a reader can compare."""

    processor: str
    cores: int
    memory_gib: float | None
    python: str
    libraries: dict[str, str]


def code(root: Path = Path()) -> Code:
    """The commit and whether files differ from it. Parameters, lock file and metrics do not count:
    each run keeps its own.

    A git that refuses a checkout which is there is told on standard error, as what it was made
    from cannot be found out later.
    """
    try:
        sha = git("rev-parse", "HEAD", root=root)
        status = git("status", "--porcelain", "--", ".", *_WRITTEN_BY_RUNS, root=root)
    except UserError as error:  # the report says that nothing is recorded
        if any((above / ".git").exists() for above in (root.resolve(), *root.resolve().parents)):
            print(f"warning: the commit is not recorded; {error}", file=sys.stderr, flush=True)
        return Code(sha=None, dirty=None)
    return Code(sha=sha, dirty=bool(status))


def lock_digest(lock: Path = LOCK) -> str | None:
    """md5 of `dvc.lock` (the hash DVC itself uses), or None before the first `dvc repro`."""
    return hashlib.md5(lock.read_bytes()).hexdigest() if lock.exists() else None


def stage_outputs(lock: Path = LOCK) -> dict[str, dict[str, str]]:
    """The hash of every output of every stage that DVC has run: `{stage: {path: md5}}`."""
    if not lock.exists():
        return {}
    stages = (read_yaml(lock) or {}).get("stages", {})
    return {
        name: {out["path"]: out["md5"] for out in stage.get("outs", []) if "md5" in out}
        for name, stage in stages.items()
    }


def processor(field: str, cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    """What Linux says of the first processor, by the name of the field; None where it does not."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), None)


def multiplies_bf16() -> bool:
    """Whether the processor multiplies bf16 by instructions of its own (AMX, AVX-512 BF16).
    Without them bf16 is slower than float32."""
    return not {"amx_bf16", "avx512_bf16"}.isdisjoint((processor("flags") or "").split())


def machine() -> Machine:
    """The processor, cores, memory and library versions here."""
    pages = os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
    return Machine(
        processor=processor("model name") or platform.processor() or platform.machine(),
        cores=os.cpu_count() or 1,
        memory_gib=pages and pages * os.sysconf("SC_PAGE_SIZE") / 2**30,
        python=platform.python_version(),
        libraries={name: found for name in LIBRARIES if (found := _version(name))},
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
