"""`docs/claims.yaml`: the published numbers as claims, each with a status that a check holds to.

A claim with a check is computed, or read from a result file, each time; a status that the found
number contradicts is a fault. A claim without one has to say why.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from diffutron.paper.claim_checks import CHECKS
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import read_json
from diffutron.runtime.yaml_files import checked, read_yaml

CLAIMS = Path("docs/claims.yaml")
Status = Literal[
    "reproduced", "not reproduced", "cannot be told", "not comparable", "not attempted"
]
RESTING = ("reproduced", "not reproduced")  # statuses that a found number has to bear out


class Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Check(Entry):
    """arithmetic: a name of `claim_checks`. Or file and key: `a.b` of a JSON file, or
    `rows[system=x,task=y].acc`; scale: what turns it into the unit of the claim."""

    arithmetic: str | None = None
    file: Path | None = None
    key: str | None = None
    scale: float = 1.0
    tolerance: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def names_one_source(self) -> "Check":
        if (self.arithmetic is None) == (self.file is None or self.key is None):
            raise ValueError("a check names `arithmetic`, or `file` and `key`")
        if self.arithmetic is not None and self.arithmetic not in CHECKS:
            raise ValueError(
                f"unknown arithmetic {self.arithmetic!r}; there is {', '.join(CHECKS)}"
            )
        return self


class Claim(Entry):
    id: Annotated[str, Field(pattern=r"^[a-z0-9.-]+$")]
    says: str
    value: float
    unit: str
    status: Status
    command: str
    why: str | None = None
    evidence: str | None = None
    check: Check | None = None

    @model_validator(mode="after")
    def is_backed(self) -> "Claim":
        if self.status in RESTING and (self.check is None or self.evidence is None):
            raise ValueError(f"{self.id}: status `{self.status}` needs a check and its evidence")
        if self.status not in RESTING and self.why is None:
            raise ValueError(f"{self.id}: status `{self.status}` needs `why`")
        return self


class Claims(Entry):
    claims: Annotated[list[Claim], Field(min_length=1)]

    @model_validator(mode="after")
    def ids_are_unique(self) -> "Claims":
        ids = [claim.id for claim in self.claims]
        twice = sorted({one for one in ids if ids.count(one) > 1})
        if twice:
            raise ValueError(f"the ids {twice} stand twice")
        return self


@dataclass(frozen=True)
class Found:
    """A claim with what was found now; `fault` says in words where the status is contradicted."""

    claim: Claim
    value: float | None
    fault: str | None


def read_claims(path: Path = CLAIMS) -> list[Claim]:
    absent = "does not exist; run this in a clone of the project, or give --file FILE"
    return checked(read_yaml(path, absent=absent), Claims, origin=str(path)).claims


def check_claims(claims: list[Claim], *, root: Path = Path()) -> list[Found]:
    """What every check finds; result files are looked for under `root`."""
    return [_check(claim, root) for claim in claims]


def _check(claim: Claim, root: Path) -> Found:
    if claim.check is None:
        return Found(claim, None, None)
    value = _value(claim.check, root)
    if value is None:
        rests = claim.status in RESTING
        fault = f"rests on {claim.check.file}, which is not there" if rests else None
        return Found(claim, None, fault)
    agrees = abs(value - claim.value) <= claim.check.tolerance
    fault = None
    if claim.status == "reproduced" and not agrees:
        fault = f"says reproduced, but {value:g} was found where {claim.value:g} is claimed"
    if claim.status == "not reproduced" and agrees:
        fault = f"says not reproduced, but {value:g} was found, which is what is claimed"
    return Found(claim, value, fault)


def _value(check: Check, root: Path) -> float | None:
    if check.arithmetic is not None:
        return CHECKS[check.arithmetic]()
    assert check.file is not None
    assert check.key is not None
    path = root / check.file
    if not path.is_file():
        return None
    found = read_json(path)
    for part in check.key.split("."):
        found = _step(found, part, place=f"{path}: {check.key}")
    if not isinstance(found, int | float):
        raise UserError(f"{path}: `{check.key}` is no number")
    return check.scale * found


def _step(value: Any, part: str, *, place: str) -> Any:
    """`name`, or `name[key=value,...]`: the one object of a list with these values."""
    name, _, wanted = part.removesuffix("]").partition("[")
    if not isinstance(value, dict) or name not in value:
        raise UserError(f"{place}: there is no `{name}`")
    value = value[name]
    if not wanted:
        return value
    pairs = dict(pair.split("=", 1) for pair in wanted.split(","))
    matching = [one for one in value if all(str(one.get(k)) == v for k, v in pairs.items())]
    if len(matching) != 1:
        raise UserError(f"{place}: {len(matching)} objects of `{name}` have {wanted}, need one")
    return matching[0]


def claim_lines(found: list[Found]) -> list[str]:
    """One line a claim, faults marked, and a count of each status at the end."""
    lines = []
    for one in found:
        claim = one.claim
        line = f"{claim.id}: {claim.status}: {claim.value:g} {claim.unit}"
        if one.value is not None:
            line += f", found {one.value:g}"
        if claim.why:
            line += f" ({claim.why})"
        lines.append(line + (f"  FAULT: {one.fault}" if one.fault else ""))
    counts = Counter(one.claim.status for one in found)
    lines.append(", ".join(f"{counts[one]} {one}" for one in get_args(Status) if counts[one]))
    return lines
