"""A leaderboard's folder as evidence: its numbers counted again, and two folders made one."""

import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from diffutron.evaluation.leaderboard.leaderboard import ITEMS, RESULTS, item_file, tested_pairs
from diffutron.evaluation.leaderboard.rows import means
from diffutron.evaluation.scoring.task_numbers import (
    AnsweredItem,
    clustered,
    judged_again,
    numbers,
    parts_of,
)
from diffutron.evaluation.statistics.pair_tests import Results
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import file_digest, read_json, write_json
from diffutron.runtime.json_lines import read_json_lines

EXACT = 1e-9  # to which a number of a page must be that of its items
Board = dict[str, Any]
Items = dict[tuple[str, str, str], list[AnsweredItem]]


def read_board(folder: Path) -> Board:
    """`leaderboard.json` of a folder."""
    if not (folder / RESULTS).is_file():
        raise UserError(f"{folder} holds no {RESULTS}; give the --out of `diffutron leaderboard`")
    board = read_json(folder / RESULTS)
    absent = [key for key in ("rows", "pairs", "means", "sets", "models") if key not in board]
    if absent:
        raise UserError(f"{folder / RESULTS}: key `{absent[0]}` is missing; make it again")
    return board


def read_items(folder: Path, board: Board) -> Items:
    """The answers to single items of each row that has a score.

    Raises:
        UserError: a file is missing, or a line of it is no answer.
    """
    found: Items = {}
    for row in board["rows"]:
        if row["acc"] is None:
            continue
        name = row["system"], row["protocol"], row["task"]
        path = folder / ITEMS / item_file(*name)
        if not path.is_file():
            raise UserError(f"{path} is missing: the answers behind {' / '.join(name)}")
        found[name] = [
            _item(values, f"{path}, line {line}")
            for line, values in read_json_lines(path, advice="score it again")
        ]
    return found


def _item(values: dict[str, Any], where: str) -> AnsweredItem:
    try:
        return AnsweredItem(**values)
    except TypeError as error:
        raise UserError(f"{where}: {error}") from None


def check_folder(folder: Path) -> tuple[int, list[str]]:
    """How many numbers were counted again, and each that is another one than `leaderboard.json`
    says. What was found in training data is not among them: the folder does not hold that."""
    board = read_board(folder)
    items = read_items(folder, board)
    recount = _Recount()
    for row in board["rows"]:
        name = row["system"], row["protocol"], row["task"]
        if name in items:
            digest = file_digest(folder / ITEMS / item_file(*name))
            recount.row(row, items[name], digest, board["sets"])
    for said, found in _zipped(board["means"], means(board["rows"]), ("system", "protocol")):
        recount.same(f"mean of {found['system']}, {found['protocol']}", said, found)
    keys = ("a", "b", "task", "protocol")
    for said, found in _zipped(board["pairs"], tested_pairs(_results(board, items)), keys):
        recount.same(f"pair {', '.join(str(found[key]) for key in keys)}", said, found)
    return recount.counted, recount.faults


class _Recount:
    """Numbers that are written beside those that follow from the answers."""

    def __init__(self) -> None:
        self.counted, self.faults = 0, list[str]()

    def same(self, place: str, said: Any, found: Any) -> None:
        self.counted += 1
        if not _equal(said, found):
            self.faults.append(
                f"{place}: {_shown(said)} is written, the answers give {_shown(found)}"
            )

    def row(
        self, row: Board, items: Sequence[AnsweredItem], digest: str, sets: Sequence[Board]
    ) -> None:
        """A row of the table and the items behind it."""
        place = f"{row['system']}, {row['protocol']}, {row['task']}"
        asked = (row["task"], row["protocol"])
        by = next(one["normalization"] for one in sets if (one["task"], one["protocol"]) == asked)
        self.same(f"{place}, sha256 of the answers", row["items_sha256"], digest)
        for item in items:
            again = judged_again(item, by_length=row["by_length"], normalization=by)
            for key, value in again.items():
                self.same(f"{place}, row {item.row}, {key}", getattr(item, key), value)
        for key, value in numbers(items).items():
            self.same(f"{place}, {key}", row.get(key), value)
        if row["parts"] is not None:
            self.same(f"{place}, parts", row["parts"], parts_of(items))
        if row.get("cluster_interval") is not None:
            self.same(f"{place}, cluster_interval", row["cluster_interval"], clustered(items))


def _zipped(
    said: Sequence[Board], found: Sequence[Board], keys: Sequence[str]
) -> Iterator[tuple[Board | None, Board]]:
    by_name = {tuple(one[key] for key in keys): one for one in said}
    for one in found:
        yield by_name.get(tuple(one[key] for key in keys)), one


def _equal(said: Any, found: Any) -> bool:
    if isinstance(said, dict) and isinstance(found, dict):
        return said.keys() == found.keys() and all(_equal(said[k], found[k]) for k in said)
    if isinstance(said, float | int) and isinstance(found, float | int):
        return math.isclose(said, found, rel_tol=EXACT, abs_tol=EXACT)
    return said == found


def _shown(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _results(board: Board, items: Items) -> dict[str, list[Results]]:
    """By protocol: what each system got right, in the order of the rows."""
    found: dict[str, list[Results]] = {}
    for protocol in dict.fromkeys(row["protocol"] for row in board["rows"]):
        mine = [name for name in items if name[1] == protocol]
        found[protocol] = [
            Results(
                system,
                {n[2]: {i.row: i.correct for i in items[n]} for n in mine if n[0] == system},
                {n[2]: {i.row: i.group for i in items[n]} for n in mine if n[0] == system},
            )
            for system in dict.fromkeys(name[0] for name in mine)
        ]
    return found


def merge_folders(folders: Sequence[Path], out: Path) -> Board:
    """One leaderboard of the systems of several, which were asked the same items.

    Returns what was written into `out`.

    Raises:
        UserError: a folder does not stand the check, a system is in two of them with other
            answers, or a set has other rows.
    """
    boards = [read_board(folder) for folder in folders]
    joint: Board = {key: [] for key in ("rows", "sets", "models", "not_scored")}
    joint["missing_sets"] = sorted({name for one in boards for name in one.get("missing_sets", [])})
    joint |= {"options": boards[0]["options"], "published": boards[0]["published"]}
    sets: dict[tuple[str, str], Board] = {}
    rows: dict[tuple[str, str, str], Board] = {}
    items: Items = {}
    for folder, board in zip(folders, boards, strict=True):
        _, faults = check_folder(folder)
        if faults:
            raise UserError(f"{folder} does not stand `leaderboard check`: {faults[0]}")
        for one in board["sets"]:
            known = sets.setdefault((one["task"], one["protocol"]), one)
            if (known["digest"], known["items"]) != (one["digest"], one["items"]):
                raise UserError(
                    f"{folder}: {one['task']} ({one['protocol']}) has other rows than in "
                    f"{folders[0]}; only answers to the same items can stand in one table"
                )
        mine = read_items(folder, board)
        for row in board["rows"]:
            name = row["system"], row["protocol"], row["task"]
            if name in rows and rows[name].get("items_sha256") != row.get("items_sha256"):
                raise UserError(f"{folder}: {name[0]} has other answers to {name[2]} than before")
            rows.setdefault(name, row)
        items |= mine
        for name in mine:
            file = Path(ITEMS) / item_file(*name)
            (out / file).parent.mkdir(parents=True, exist_ok=True)
            if (out / file).resolve() != (folder / file).resolve():
                shutil.copyfile(folder / file, out / file)
        for key in ("models", "not_scored"):
            joint[key] += [one for one in board[key] if one not in joint[key]]
    joint |= {"rows": list(rows.values()), "sets": list(sets.values())}
    joint |= {"means": means(joint["rows"]), "pairs": tested_pairs(_results(joint, items))}
    write_json(out / RESULTS, joint)
    return joint
