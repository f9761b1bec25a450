"""What a training remembers of itself, and what it leaves for the report."""

import csv
import io
import math
import os
import platform
import resource
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffutron.modeling.matmul import prefers_onednn
from diffutron.runtime.files import write_json, write_text
from diffutron.runtime.live import CURVE, add_point

if TYPE_CHECKING:
    from diffutron.training.ranks import Ranks

COLUMNS = ("step", "loss", "eval_loss", "learning_rate", "tokens", "skipped_steps")


@dataclass
class TrainerState:
    """What a checkpoint keeps beside the weights; losses in nats as the objective weighs them."""

    tokens: int = 0
    masked: int = 0
    attended: list[int] = field(default_factory=lambda: [0, 0])  # pairs: full, sliding layers
    seconds: float = 0.0
    cpu_seconds: float = 0.0  # of this process, all threads
    losses: list[float] = field(default_factory=list)  # of the steps since the last point
    curve: list[dict[str, float | int | None]] = field(default_factory=list)
    skipped_steps: int = 0  # whose gradients were infinite or no numbers
    eval_loss_before: float | None = None
    eval_loss: float | None = None

    def risen(self, *, window: int) -> float:
        """How far the loss is above its lowest so far, over means of so many points."""
        return rise([float(point["loss"] or 0.0) for point in self.curve], window=window)

    def shown(self) -> dict[str, object]:
        """What the progress line says."""
        speed = {"tokens/s": f"{self.tokens / max(self.seconds, 1e-9):.0f}"}
        return {"loss": f"{self.curve[-1]['loss']:.4f}", **speed} if self.curve else dict(speed)


class LiveCurve:
    """The curve for whoever looks while the training runs; points in their order.

    enabled: of the first rank alone.
    """

    def __init__(self, *, enabled: bool) -> None:
        self.enabled = enabled and CURVE in os.environ
        self.grad_norm: float | None = None

    def look(self, engine: Any) -> None:
        """Before a step: the length of its gradients, where the engine does not measure it."""
        if self.enabled:
            import torch

            found = [one.grad for one in engine.module.parameters() if one.grad is not None]
            self.grad_norm = float(torch.nn.utils.get_total_norm(found)) if found else None

    def start(self, state: TrainerState) -> None:
        """The held-out loss before the first step; of a training that goes on, what it has."""
        if self.enabled:
            add_point({"step": 0, "eval_loss": state.eval_loss_before, "tokens": 0})
            for point in state.curve:
                add_point(point)

    def add(self, engine: Any, state: TrainerState) -> None:
        """The last point of the state."""
        if self.enabled:
            norm = engine.get_global_grad_norm()
            speed = state.tokens / max(state.seconds, 1e-9)
            measured = {"grad_norm": self.grad_norm if norm is None else float(norm)}
            add_point({**state.curve[-1], **measured, "tokens_per_s": round(speed, 1)})


def machine_facts(ranks: "Ranks") -> dict[str, Any]:
    """Where and how a training ran, and its memory."""
    on_gpu = ranks.device.type == "cuda"
    return {
        "peak_bytes": peak_bytes(ranks.device),
        "device": device_name(ranks.device),
        "machine": platform.processor() or platform.machine(),
        "world_size": ranks.world_size,
        "products": "cublas" if on_gpu else "onednn" if prefers_onednn() else "blas",
        "threads": int(os.environ.get("OMP_NUM_THREADS", 0)) or len(os.sched_getaffinity(0)),
    }


def device_name(device: Any) -> str:
    """`cpu`, or the name of the GPU."""
    if device.type == "cpu":
        return "cpu"
    import torch  # cuda only

    return torch.cuda.get_device_name(device)  # cuda only


def peak_bytes(device: Any) -> int:
    """The most memory that this rank has held, on its GPU if it has one."""
    if device.type == "cuda":
        import torch  # cuda only

        return torch.cuda.max_memory_allocated(device)  # cuda only
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def write_record(metrics: Path, values: dict[str, Any], state: TrainerState) -> None:
    """`metrics/STAGE.json`, and `metrics/STAGE.csv` beside it (the plot of the loss)."""
    table = io.StringIO()
    writer: csv.DictWriter[str] = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(state.curve)
    write_text(metrics.with_suffix(".csv"), table.getvalue())
    write_json(metrics, values)


def rise(losses: Sequence[float], *, window: int) -> float:
    """The mean of the last `window` losses over the lowest such mean so far, at least 1.

    1 until there are two windows.
    """
    if len(losses) < 2 * window:
        return 1.0
    sums = [math.fsum(losses[end - window : end]) for end in range(window, len(losses) + 1)]
    return sums[-1] / min(sums) if min(sums) > 0 else 1.0
