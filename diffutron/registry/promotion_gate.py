"""`diffutron gate`: may a version take the place of the champion? Every condition, and why."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from diffutron.registry.card_check import missing_parts, untraced_numbers
from diffutron.registry.comparison import ALPHA, Comparison, compare
from diffutron.registry.evidence import Evidence, read_evidence
from diffutron.registry.licenses import NOT_STATED, Use, forbids
from diffutron.registry.mlflow_client import tracking
from diffutron.registry.package import answers_when_served
from diffutron.registry.promote import NAME, champion
from diffutron.registry.registration_gate import Condition, conditions

MAX_DROP = 0.10
MAX_CONTAMINATION = 0.01


@dataclass(frozen=True)
class Judgement:
    """The verdict on a version; `comparison` is None where there is no other champion."""

    version: int
    champion: int | None
    conditions: list[Condition]
    comparison: Comparison | None

    @property
    def holds(self) -> bool:
        return all(condition.holds for condition in self.conditions)

    @property
    def failed(self) -> list[str]:
        return [str(condition) for condition in self.conditions if not condition.holds]

    def as_json(self) -> dict[str, Any]:
        compared = self.comparison
        return {
            "version": self.version,
            "champion": self.champion,
            "holds": self.holds,
            "conditions": [asdict(condition) for condition in self.conditions],
            "comparison": None
            if compared is None
            else {
                "n": compared.n,
                "mean_difference": compared.mean_difference,
                "low": compared.low,
                "tasks": {
                    name: {**asdict(task), "difference": task.difference}
                    for name, task in compared.tasks.items()
                },
            },
        }

    def as_evidence(self) -> dict[str, Any]:
        """What a promotion keeps of it."""
        compared = self.comparison
        return {
            "holds": self.holds,
            "failed": self.failed,
            "champion": self.champion,
            "items": compared.n if compared else 0,
            "mean_difference": compared.mean_difference if compared else None,
            "low": compared.low if compared else None,
        }


def judge(
    version: int,
    *,
    name: str = NAME,
    max_drop: float = MAX_DROP,
    use: Use = "research",
    serve: bool = True,
) -> Judgement:
    """Judge a version by its evidence, and against the champion where there is another one.

    serve: let it answer in a process of its own, as a server loads it (half a minute).
    Errors: an unknown version, or one without evidence, is a `UserError`.
    """
    with tracking() as client:
        found = read_evidence(client, name, version)
        stands = champion(client, name)
        rival = read_evidence(client, name, stands) if stands not in (None, version) else None
        held = [*_register_gate(found), *_own(found, use=use)]
        if serve:
            held.append(_serving(name, version))
    comparison = None
    if rival is not None:
        comparison, compared = _against(found, rival, max_drop=max_drop)
        held = [*compared, *held]
    return Judgement(version, rival.version if rival else None, held, comparison)


def _register_gate(found: Evidence) -> list[Condition]:
    unigram = found.measured.get("evaluate", {}).get("unigram_bits_per_byte")
    limits = found.params.register_.gate
    return conditions(found.summary, limits, unigram_bits_per_byte=unigram)


def _against(
    found: Evidence, rival: Evidence, *, max_drop: float
) -> tuple[Comparison | None, list[Condition]]:
    """The conditions of the comparison, over the items that both have answered."""
    label = f"items that champion {rival.version} has answered too"
    same = {
        task: rows
        for task, rows in found.answers.items()
        if found.set_digests.get(task) == rival.set_digests.get(task)
    }
    try:
        compared = compare(same, rival.answers)
    except ValueError:
        wanted = "some; evaluate both on the same sets"
        return None, [Condition(label, wanted, 0.0, holds=False)]
    asked = sum(map(len, found.answers.values()))
    held = [
        Condition(label, f"all {asked}", float(compared.n), compared.n == asked),
        Condition(
            f"mean accuracy, difference {compared.mean_difference:+.4f}: lower end of the "
            "one-sided 95 % interval",
            "above 0",
            compared.low,
            compared.low > 0,
        ),
    ]
    for task, one in compared.tasks.items():
        said = f"{one.difference:+.4f} (p of being worse {one.p_holm:.3g})"
        wanted = f"p at least {ALPHA:g} by Holm, at most {max_drop:g} below"
        held.append(Condition(f"{task}, difference", wanted, said, one.holds(max_drop)))
    return compared, held


def _own(found: Evidence, *, use: Use) -> Iterator[Condition]:
    """What a version must show whether there is a champion or not."""
    failed, passed = _sanity_checks(found.measured)
    if failed or passed:
        said = f"failed: {', '.join(failed)}" if failed else f"{passed} passed"
        yield Condition("sanity checks of the evaluation", "all passed", said, not failed)
    share = contamination(found.measured)
    yield Condition(
        "documents with evaluation text in the sources (all were dropped), share",
        f"at most {MAX_CONTAMINATION:g}",
        share,
        share is not None and share <= MAX_CONTAMINATION,
    )
    against = [f"{part}: {one}" for part, one in found.licenses.items() if forbids(one, use)]
    said = "; ".join(against) or ", ".join(dict.fromkeys(found.licenses.values())) or NOT_STATED
    allowed = bool(found.licenses) and not against
    yield Condition(f"licenses of the data, for {use} use", "none against it", said, allowed)
    lacking = [*missing_parts(found.card), *_untraced(found)]
    yield Condition(
        "model card", "complete, every number from a file", _listed(lacking), not lacking
    )


def _untraced(found: Evidence) -> list[str]:
    tracked = [
        found.params.model_dump(mode="json", by_alias=True),
        found.summary,
        found.measured,
    ]
    return [f"number {number}" for number in untraced_numbers(found.card, tracked)]


def _listed(lacking: list[str]) -> str:
    return f"lacks {', '.join(lacking)}" if lacking else "complete"


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


def _sanity_checks(values: Any) -> tuple[list[str], int]:
    """Names of failed sanity checks and the number of passed ones, wherever a file has them."""
    failed: list[str] = []
    passed = 0
    for key, value in values.items() if isinstance(values, Mapping) else ():
        if key != "sanity_checks" or not isinstance(value, Mapping):
            more_failed, more_passed = _sanity_checks(value)
            failed, passed = failed + more_failed, passed + more_passed
            continue
        for name, outcome in value.items():
            good = outcome.get("passed") if isinstance(outcome, Mapping) else outcome
            if good is False:
                failed.append(name)
            passed += good is True
    return failed, passed


def _serving(name: str, version: int) -> Condition:
    answer, fault = answers_when_served(f"models:/{name}/{version}")
    found = fault or f"answered {answer!r}"
    return Condition("served by MLflow", "answers a prompt", found, fault is None)
