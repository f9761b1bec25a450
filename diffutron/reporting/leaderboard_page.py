"""The leaderboard as a page and as text: measured beside published, never mixed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffutron.config.names import TASK_NAMES, task_name
from diffutron.pages import format
from diffutron.pages.render import render
from diffutron.runtime.files import write_text

Row = dict[str, Any]
MEAN = "mean"
VERDICTS = {True: "passed", False: "FAILED", None: "tells nothing"}


def write_pages(results: dict[str, Any], out: Path) -> None:
    """`leaderboard.md` and `leaderboard.html` beside `leaderboard.json`, from its content alone."""
    view = build_view(results)
    for name in ("leaderboard.html", "leaderboard.md"):
        text = render(f"{name}.jinja", view, package="diffutron.reporting")
        write_text(out / name, text)


def build_view(results: dict[str, Any]) -> dict[str, Any]:
    """Both templates show this: a table of scores a protocol, the published one, the pairs."""
    protocols = list(dict.fromkeys(row["protocol"] for row in results["rows"]))
    return {
        "options": results["options"],
        "tables": [_table(results, protocol) for protocol in protocols],
        "published": results["published"],
        "task_names": TASK_NAMES,
        "pairs": [_pair(one) for one in results["pairs"]],
        "not_scored": results["not_scored"],
        "missing": results["missing_sets"],
        "sets": results["sets"],
        "checks": _checks(results["rows"]),
        "parts": part_tables(results["rows"]),
        "beside": published_tables(results),
        "recalls": [row for row in results["rows"] if row["acc"] is not None],
    }


def _table(results: dict[str, Any], protocol: str) -> dict[str, Any]:
    """Tasks down, systems across; supervised columns last and marked."""
    rows = [row for row in results["rows"] if row["protocol"] == protocol]
    systems = list(dict.fromkeys(row["system"] for row in rows if not row["supervised"]))
    taught = list(dict.fromkeys(row["system"] for row in rows if row["supervised"]))
    failed = {row["system"] for row in rows if False in row["sanity_checks"].values()}
    cells = {(row["task"], row["system"]): row for row in rows}
    means = {one["system"]: one for one in results["means"] if one["protocol"] == protocol}
    order = [*systems, *taught]
    return {
        "protocol": protocol,
        "columns": [
            {"name": name, "supervised": name in taught, "failed": name in failed} for name in order
        ],
        "lines": [
            _line(task, [cells.get((task, name)) for name in order])
            for task in dict.fromkeys(row["task"] for row in rows)
        ],
        "mean": [_mean_cell(means.get(name)) for name in order],
    }


def _line(task: str, rows: Sequence[Row | None]) -> dict[str, Any]:
    some = next(row for row in rows if row is not None)
    return {
        "task": task_name(task),
        "stand_in": some["stand_in"],
        "n": format.count(some["n"]),
        "chance": format.percent(some["chance"], digits=2),
        "constant": format.percent(some["constant"], digits=2),
        "cells": [_cell(row) for row in rows],
    }


def _cell(row: Row | None) -> dict[str, Any]:
    if row is None or row["acc"] is None:
        why = row["why"] if row else "not scored"
        return {"acc": None, "text": "-", "interval": why or "", "norm": "", "published": None,
                "uncontaminated": None, "strong": False}  # fmt: skip
    above = row["p_value"] is not None and row["p_value"] < 0.001
    given = row["published"]
    return {
        "acc": row["acc"],
        "text": format.percent(row["acc"], digits=2) + ("*" if above else ""),
        "interval": format.interval(row["low"], row["high"]),
        "norm": format.percent(row["acc_norm"], digits=2),
        "published": None if given is None else format.percent(given, digits=2),
        "uncontaminated": f"{row['contaminated']} items stand in its training data (of "
        f"{row['findable']} that the search can find); "
        f"{format.percent(row['acc_uncontaminated'], digits=2)} without them"
        if row["contaminated"]
        else None,
        "strong": above,
    }


def _mean_cell(mean: Row | None) -> dict[str, Any]:
    if mean is None:
        return {"text": "-", "interval": ""}
    acc, references = _mean_texts(mean)
    return {"text": acc, "interval": f"{mean['tasks']} tasks; {references}"}


def _mean_texts(mean: Row) -> tuple[str, str]:
    """The mean, and what it is to be held against."""
    acc, chance, constant = (
        format.percent(mean[key], digits=2) for key in ("acc", "chance", "constant")
    )
    return acc, f"chance {chance}, constant {constant}"


def part_tables(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """A table for each task that has parts, in each protocol: parts down, systems across."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["acc"] is not None and row.get("parts"):
            found.setdefault((row["task"], row["protocol"]), []).append(row)
    return [_parts(task, protocol, mine) for (task, protocol), mine in found.items()]


def _parts(task: str, protocol: str, rows: Sequence[Row]) -> dict[str, Any]:
    some = rows[0]["parts"]
    return {
        "task": TASK_NAMES.get(task, task),
        "protocol": protocol,
        "columns": [row["system"] for row in rows],
        "lines": [
            {
                "name": name,
                "n": format.count(part["n"]),
                "chance": format.percent(part["chance"], digits=2),
                "cells": [_share(row["parts"][name]) for row in rows],
            }
            for name, part in some.items()
        ],
        "whole": [_share(row) for row in rows],
        "clusters": [_by_cluster(row) for row in rows],
    }


def _share(values: Row) -> dict[str, Any]:
    return {
        "acc": values["acc"],
        "text": format.percent(values["acc"], digits=2),
        "interval": format.interval(values["low"], values["high"]),
    }


def _by_cluster(row: Row) -> str:
    found = row.get("cluster_interval")
    if not found:
        return ""
    return f"{format.interval(found['low'], found['high'])}, {found['clusters']} clusters"


def published_tables(results: dict[str, Any]) -> list[dict[str, Any]]:
    """For each task that others have published scores of: theirs and ours, the highest first."""
    tables = []
    for one in results["sets"]:
        theirs = one.get("published")
        if theirs is None:
            continue
        mine = [
            {
                "name": row["system"],
                "size": "",
                "acc": row["acc"],
                "interval": _by_cluster(row) or format.interval(row["low"], row["high"]),
                "published": False,
            }
            for row in results["rows"]
            if (row["task"], row["protocol"]) == (one["task"], one["protocol"])
            and row["acc"] is not None
        ]
        lines = mine + [_published(line) for line in theirs["systems"]]
        for line in lines:
            line["text"] = format.percent(line["acc"], digits=2)
        tables.append(
            {
                "task": TASK_NAMES.get(one["task"], one["task"]),
                "protocol": one["protocol"],
                "source": theirs["source"],
                "interval": theirs["interval"],
                "lines": sorted(lines, key=lambda line: -line["acc"]),
            }
        )
    return tables


def _published(line: Row) -> dict[str, Any]:
    known = line["low"] is not None and line["high"] is not None
    return {
        "name": line["name"],
        "size": line["size"] or "",
        "acc": line["acc"],
        "interval": format.interval(line["low"], line["high"]) if known else "",
        "published": True,
    }


def _pair(one: Row) -> dict[str, Any]:
    needed = one["items_needed"]
    return one | {
        "difference_text": f"{100 * one['difference']:+.2f}",
        "interval": f"{100 * one['low']:+.2f} to {100 * one['high']:+.2f}",
        "p_text": format.p_value(one["p_value"]),
        "holm_text": format.p_value(one["p_holm"]),
        "needed_text": "" if needed is None else format.count(needed),
        "says": says(one),
    }


def says(one: Row) -> str:
    """A pair in a plain sentence."""
    where = "on the mean" if one["task"] == MEAN else f"on {one['task']}"
    if one["verdict"] != "cannot be told":
        return f"{one['a']} is {one['verdict']} than {one['b']} {where}"
    if one["items_needed"] is None:
        return f"{one['a']} and {one['b']} {where}: no difference"
    needed = format.count(one["items_needed"])
    return (
        f"{one['a']} against {one['b']} {where}: cannot be told; "
        f"a difference of this size takes {needed} items, there are {format.count(one['n'])}"
    )


def _checks(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [
        {
            "system": row["system"],
            "task": row["task"],
            "protocol": row["protocol"],
            "name": name,
            "passed": VERDICTS[row["sanity_checks"][name]],
            "detail": detail,
        }
        for row in rows
        for name, detail in row["sanity_check_details"].items()
    ]


def summary_lines(results: dict[str, Any]) -> list[str]:
    """What the command prints at its end: means, what could be told, what was not scored."""
    lines = []
    for one in results["means"]:
        acc, references = _mean_texts(one)
        place = f"{one['system']} ({one['protocol']})"
        lines.append(f"{place}: mean {acc} of {one['tasks']} tasks ({references})")
    lines += [says(one) for one in results["pairs"] if one["task"] == MEAN]
    lines += [f"not in the folder: {task}" for task in results["missing_sets"]]
    for (system, protocol, why), tasks in _without_score(results["rows"]).items():
        lines.append(f"no score: {system} ({protocol}) on {', '.join(tasks)}: {why}")
    return lines + [
        f"not scored: {one['system']}: {one['reason']}" for one in results["not_scored"]
    ]


def _without_score(rows: Sequence[Row]) -> dict[tuple[str, str, str], list[str]]:
    """The tasks without a score, by system, protocol and reason."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        if row["why"]:
            key = row["system"], row["protocol"], row["why"]
            found.setdefault(key, []).append(row["task"])
    return found


def print_pairs(pairs: Sequence[Row], *, as_json: bool) -> None:
    """A comparison for the terminal: a line a task, then what it comes to."""
    import json

    if as_json:
        print(json.dumps(pairs, ensure_ascii=False, indent=2))
        return
    for one in map(_pair, pairs):
        print(
            f"{one['task']}: A - B {one['difference_text']} ({one['interval']}), n {one['n']}, "
            f"{one['p_text']}, Holm {one['holm_text']}: {one['says']}"
        )
