"""The plan for people, and as JSON."""

import json
from typing import TYPE_CHECKING, Any

from diffutron.planning.plan import ZERO_STAGES

if TYPE_CHECKING:
    from rich.table import Table


def table(planned: dict[str, Any]) -> "Table":
    """The plan for people."""
    from rich.table import Table

    model, machine, stages = planned["model"], planned["machine"], planned["stages"]
    shown = Table(
        title=f"Profile {planned['profile']}: {model['parameters'] / 1e6:.1f} M parameters, "
        f"adapter {model['adapter_parameters'] / 1e6:.2f} M "
        f"({100 * model['trainable_share']:.2f} % of both)",
        caption=f"{'GPU' if machine['on_gpu'] else 'CPU'} of "
        f"{machine['flops_per_s'] / 1e9:,.0f} GFLOP/s, "
        f"{100 * machine['share_reached']:.0f} % of them reached",
    )
    shown.add_column("stage", no_wrap=True)
    for column in ("tokens", "TFLOP", "memory a rank", "hours", "disk"):
        shown.add_column(column, justify="right")
    for stage in stages:
        shown.add_row(
            stage["name"],
            f"{stage['tokens']:,}",
            f"{stage['flops'] / 1e12:,.1f}",
            _size(stage["memory_bytes_per_rank"]),
            f"{stage['hours']:,.2f}",
            _size(stage["disk_bytes"]),
        )
    shown.add_section()
    hours, disk = (sum(stage[key] for stage in stages) for key in ("hours", "disk_bytes"))
    shown.add_row("all", "", "", "", f"{hours:,.2f}", _size(disk))
    return shown


def zero_table(planned: dict[str, Any]) -> "Table":
    """The trainings with each ZeRO stage: memory of a rank, and what it sends each step."""
    from rich.table import Table

    shown = Table(
        title="ZeRO stages: memory of a rank, bytes that it sends each step",
        caption="* as params.yaml has it",
    )
    shown.add_column("stage", no_wrap=True)
    for stage in ZERO_STAGES:
        shown.add_column(str(stage), justify="right")
    for training in planned["stages"]:
        cells = [
            ("* " if zero["stage"] == training["zero_stage"] else "")
            + _size(zero["memory_bytes_per_rank"])
            + f"\n{_size(zero['communication_bytes_per_step'])}"
            for zero in training["by_zero_stage"]
        ]
        if cells:
            shown.add_row(training["name"], *cells)
    return shown


def _size(count: int) -> str:
    return f"{count / 2**30:,.2f} GiB" if count >= 2**30 else f"{count / 2**20:,.1f} MiB"


def print_plan(planned: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(planned, indent=2))
        return
    from rich.console import Console

    console = Console()
    console.print(table(planned))
    console.print(zero_table(planned))
    for assumption in planned["assumptions"]:
        console.print(f"  {assumption}", highlight=False, markup=False)
