"""What a DVC that was killed leaves in its lock file, which would stop the next build."""

import json
from pathlib import Path

LOCKS = Path(".dvc/tmp")
HELD = "rwlock"  # who reads and writes which output, as JSON; DVC does not replace it in one step


def drop_dead_locks() -> None:
    """Remove the file of DVC's locks where no DVC that is alive holds one of them.

    DVC reads nothing more once it was killed while it wrote that file ("JSON structure is
    corrupted"). It also waits for a number that another process has been given since.
    """
    if not _is_dead():
        return
    from dvc.lock import make_lock

    with make_lock(str(LOCKS / f"{HELD}.lock"), tmp_dir=str(LOCKS), wait=True):
        if _is_dead():  # a DVC that started meanwhile may have written it
            (LOCKS / HELD).unlink(missing_ok=True)


def _is_dead() -> bool:
    try:
        held = json.loads((LOCKS / HELD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except json.JSONDecodeError:
        return True
    writers = list(held.get("write", {}).values())
    readers = [reader for each in held.get("read", {}).values() for reader in each]
    holders = {holder["pid"] for holder in writers + readers}
    return bool(holders) and not any(map(_is_dvc, holders))


def _is_dvc(pid: int) -> bool:
    import psutil  # comes with DVC, which a plain installation lacks

    try:
        return any("dvc" in Path(word).name for word in psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
