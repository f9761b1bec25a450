"""What a leaderboard asks: the rows of the sets, as questions in the words of each protocol."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from diffutron.config.section import TASKS
from diffutron.data.evaluation_sets.evaluation_sets import EvaluationSet, load_sets, training_set
from diffutron.data.own_tasks import OwnTask
from diffutron.evaluation.cetvel.protocols import PROTOCOLS, Protocol
from diffutron.evaluation.cetvel.questions import CONTINUED, LISTED, Question, ask
from diffutron.runtime.errors import UserError

MAX_SHOTS = 5
NO_FOLDER = ("hub", "sample")  # sources that are no folder


@dataclass(frozen=True)
class EvalTask:
    """The questions of one set in one protocol. training: the rows of its training split, if it
    has one."""

    dataset: EvaluationSet
    protocol: Protocol
    shots: int
    questions: list[Question]
    training: EvaluationSet | None

    @classmethod
    def draw(
        cls,
        dataset: EvaluationSet,
        protocol: Protocol,
        *,
        limit: int | None,
        seed: int,
        shots: int = 0,
        training: EvaluationSet | None = None,
    ) -> "EvalTask":
        """`limit` questions of a set, drawn by the seed; all of them without a limit."""
        asked = ask(dataset, protocol, shots=shots, training=training, seed=seed)
        chosen = dataset.draw(limit, seed=seed)
        if chosen is not None:
            asked = [asked[number] for number in chosen]
        if dataset.task in CONTINUED or (dataset.own and dataset.own.pairs):
            protocol = replace(protocol, chat=False)
        return cls(dataset, protocol, shots, asked, training)

    @property
    def name(self) -> str:
        """What the task is printed as."""
        return self.dataset.name

    @property
    def stand_in(self) -> str | None:
        """The set that this one only stands for."""
        return self.dataset.task if self.name != self.dataset.task else None

    @property
    def listed(self) -> bool:
        """Whether the prompt lists the choices."""
        return self.dataset.task in LISTED


def choose_protocols(name: str) -> list[Protocol]:
    if name == "both":
        return [PROTOCOLS["corrected"], PROTOCOLS["cetvel"]]
    if name not in PROTOCOLS:
        raise UserError(f"unknown protocol {name!r}; allowed: {', '.join(PROTOCOLS)}, both")
    return [PROTOCOLS[name]]


def choose_tasks(
    names: Sequence[str] | None, own: Iterable[str] = (), *, also: Iterable[str] = ()
) -> list[str]:
    """The tasks of these names among the seven and somebody's own; all of them without names.

    also: names that are allowed besides, for the message.
    """
    known = [*TASKS, *own]
    for name in names or ():
        if name not in known:
            allowed = ", ".join(dict.fromkeys([*known, *also]))
            raise UserError(f"unknown task {name!r}; allowed: {allowed}")
    return [task for task in known if names is None or task in names]


def place_of(data: str | None) -> tuple[str, Path | None]:
    """(source, folder) of `--data`: a folder, `hub` or `sample`; by default DIFFUTRON_DATA, else
    the hub."""
    data = data or os.environ.get("DIFFUTRON_DATA") or "hub"
    if data in NO_FOLDER:
        return data, None
    if not Path(data).is_dir():
        raise UserError(f"--data {data}: no such folder; give a folder, hub or sample")
    return "local", Path(data)


def read_material(
    tasks: Sequence[str],
    protocols: Sequence[Protocol],
    *,
    data: str | None,
    shots: int,
    limit: int | None,
    seed: int,
    own: Mapping[str, OwnTask] | None = None,
) -> tuple[list[EvalTask], list[str]]:
    """The questions of every task and protocol, and the sets that a local folder lacks.

    own: somebody's own tasks by name, which bring their rows themselves.
    """
    mine = [task for name, task in (own or {}).items() if name in tasks]
    tasks = [name for name in tasks if name in TASKS]
    if not 0 <= shots <= MAX_SHOTS:
        raise UserError(f"--shots {shots}: 0 to {MAX_SHOTS} solved examples are possible")
    if limit is not None and limit < 1:
        raise UserError(f"--limit {limit}: at least 1 item of a task has to be scored")
    found: list[EvalTask] = []
    missing: list[str] = []
    folder = place_of(data)[1] if any(task.spec.metadata.local for task in mine) else None
    brought = [(task.rows(folder), task.training(folder)) for task in mine]
    for protocol in protocols:
        found += [
            EvalTask.draw(rows, protocol, limit=limit, seed=seed, shots=shots, training=training)
            for rows, training in brought
        ]
    if not tasks:
        return found, missing
    source, folder = place_of(data)
    for protocol in protocols:
        sets, missing = load_sets(tasks, source=source, folder=folder, unlabeled=protocol.unlabeled)
        for dataset in sets:
            training = training_set(dataset.task, source=source, folder=folder)
            if source == "sample":  # it has the form of the sets and is none of them
                dataset = replace(dataset, name=f"sample_{dataset.task}")
            found.append(
                EvalTask.draw(
                    dataset, protocol, limit=limit, seed=seed, shots=shots, training=training
                )
            )
    return found, missing
