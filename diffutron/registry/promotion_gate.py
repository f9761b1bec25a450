"""`diffutron gate`: may a version take the place of the champion? Every condition, and why."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from diffutron.config.params import PromoteParams
from diffutron.data.sources.licenses import Use, against, model_licenses
from diffutron.evaluation.statistics.pair_tests import BETTER, WORSE, compare, shared_items
from diffutron.registry.evidence import Evidence, read_evidence
from diffutron.registry.mlflow_client import tracking
from diffutron.registry.package import smoke_test
from diffutron.registry.promote import NAME, champion
from diffutron.registry.registration_gate import Condition, conditions
from diffutron.runtime.errors import UserError
from diffutron.runtime.tables import flatten


@dataclass(frozen=True)
class Verdict:
    """What was found of a version; `comparison` is None where there is no other champion."""

    version: int
    champion: int | None
    conditions: list[Condition]
    comparison: dict[str, Any] | None

    @property
    def holds(self) -> bool:
        return all(condition.holds for condition in self.conditions)

    @property
    def failed(self) -> list[str]:
        return [str(condition) for condition in self.conditions if not condition.holds]

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "holds": self.holds}

    def as_evidence(self) -> dict[str, Any]:
        """What a promotion keeps of it."""
        compared = self.comparison or {}
        return {
            "holds": self.holds,
            "failed": self.failed,
            "champion": self.champion,
            "items": compared.get("n", 0),
            "mean_difference": compared.get("mean_difference"),
            "low": compared.get("low"),
        }


def judge(
    version: int,
    *,
    name: str = NAME,
    limits: PromoteParams | None = None,
    max_drop: float | None = None,
    use: Use = "research",
    serve: bool = True,
) -> Verdict:
    """Judge a version by its evidence, and against the champion where there is another one.

    Args:
        limits: the bounds of the project's `params.yaml`; by default those that the version was
            built with.
        max_drop: in place of the one of the limits.
        use: what the licenses must allow.
        serve: let it answer in a process of its own, on the code it carries (half a minute).

    Raises:
        UserError: an unknown version, or one without evidence.
    """
    with tracking() as client:
        found = read_evidence(client, name, version)
        stands = champion(client, name)
        rival = read_evidence(client, name, stands) if stands not in (None, version) else None
        limits = limits or found.params.promote
        if max_drop is not None:
            limits = limits.model_copy(update={"max_drop": max_drop})
        gate = found.params.register_.gate
        held = [
            *conditions(found.summary, gate, baselines=found.measured.get("evaluate", {})),
            *_own(found, limits=limits, use=use),
        ]
        if serve:
            try:
                answer, fault = f"answered {smoke_test(f'models:/{name}/{version}')!r}", None
            except UserError as error:
                answer, fault = None, str(error)
            said = "answers a prompt and scores a pair"
            held.append(Condition("served by MLflow", said, fault or answer, fault is None))
    if rival is None:
        return Verdict(version, None, held, None)
    comparison, compared = _against(found, rival, limits=limits)
    return Verdict(version, rival.version, [*compared, *held], comparison)


def _against(
    found: Evidence, rival: Evidence, *, limits: PromoteParams
) -> tuple[dict[str, Any] | None, list[Condition]]:
    """The comparison over the items that both have answered, and its conditions."""
    answered = found.answers.correct
    same = {
        task: rows
        for task, rows in answered.items()
        if found.set_digests.get(task) == rival.set_digests.get(task)
    }
    # A task that somebody adds stops no promotion: the champion was never asked it.
    new_tasks = sorted(found.own_sets & (answered.keys() - same.keys()))
    label = f"items that champion {rival.version} has answered too"
    label += f", without those of {', '.join(new_tasks)}" if new_tasks else ""
    asked = sum(len(rows) for task, rows in answered.items() if task not in new_tasks)
    new, old = replace(found.answers, correct=same), rival.answers
    entries = compare(new, old, protocol="evaluate", alpha=limits.alpha)
    if not entries:
        return None, [Condition(label, "some; evaluate both on the same sets", 0.0, holds=False)]
    tasks, whole = entries[:-1] or entries, entries[-1]
    held = [
        Condition(label, f"all {asked}", float(whole["n"]), whole["n"] == asked),
        Condition(
            "mean accuracy, difference",
            f"better, p below {limits.alpha:g}",
            f"{whole['difference']:+.4f} (p {whole['p_holm']:.3g})",
            whole["verdict"] == BETTER,
        ),
    ]
    held += [
        Condition(
            f"{one['task']}, difference",
            f"not worse (p by Holm below {limits.alpha:g}), and at most {limits.max_drop:g} below",
            f"{one['difference']:+.4f} (p {one['p_holm']:.3g})",
            one["verdict"] != WORSE and -one["difference"] <= limits.max_drop,
        )
        for one in tasks
    ]
    for one in tasks:
        rows = shared_items(new, old, one["task"])
        one["acc"] = sum(new.correct[one["task"]][row] for row in rows) / len(rows)
        one["champion_acc"] = one["acc"] - one["difference"]
    comparison = {
        "n": whole["n"],
        "mean_difference": whole["difference"],
        "low": whole["low"],
        "tasks": {one["task"]: one for one in tasks},
    }
    return comparison, held


def _own(found: Evidence, *, limits: PromoteParams, use: Use) -> Iterator[Condition]:
    """What a version must show whether there is a champion or not."""
    checks = sanity_checks(found.measured)
    if checks:
        failed = [name for name, passed in checks.items() if not passed]
        said = f"failed: {', '.join(failed)}" if failed else f"{len(checks)} passed"
        yield Condition("sanity checks of the evaluation", "all passed", said, not failed)
    share = contamination(found.measured)
    yield Condition(
        "documents with evaluation text in the sources (all were dropped), share",
        f"at most {limits.max_contaminated:g}",
        share,
        share is not None and share <= limits.max_contaminated,
    )
    parts = model_licenses(found.params, found.measured)
    faults = against(parts, use=use, allowed=found.params.corpus.allowed_licenses)
    names = dict.fromkeys(one.license for licenses in parts.values() for one in licenses)
    said = "; ".join(faults) or ", ".join(names)
    yield Condition(f"licenses of the data, for {use} use", "none against it", said, not faults)


def contamination(measured: Mapping[str, Any]) -> float | None:
    """The largest share of a source's documents that held evaluation text; None: not measured."""
    corpus, phases = measured.get("corpus"), measured.get("instructions")
    if corpus is None or phases is None:
        return None
    counts = [(corpus["dropped"]["contaminated"], corpus["documents"]["read"])]
    counts += [
        (phase["dropped"]["contaminated"], phase["rows"]["read"])
        for phase in phases.values()
        if isinstance(phase, dict) and "rows" in phase
    ]
    return max(hit / max(read, 1) for hit, read in counts)


def sanity_checks(measured: Mapping[str, Any]) -> dict[str, bool]:
    """Place and outcome of every sanity check in the results.

    A check that is null, or whose `passed` is null, could not fail there: it does not count.
    """
    return {
        name.removesuffix("/passed").replace("/sanity_checks/", "/"): passed
        for name, passed in flatten(measured, separator="/").items()
        if "/sanity_checks/" in name and isinstance(passed, bool)
    }
