"""`diffutron metrics`: the numbers of the last run, by the names that other commands take."""

from pathlib import Path
from typing import Any

from diffutron.config.names import MODELS
from diffutron.config.params import STAGES
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import read_json
from diffutron.runtime.tables import flatten

BASELINES = ("unigram", "bigram", "five_gram")


def metrics(folder: Path) -> dict[str, float]:
    """Name -> value of every number that the stages have left in `folder`; no other value has one.

    A name is the stage and the keys of its file: `evaluate.models.merged.bits_per_byte`. What
    `evaluate` measured of the last model (phase 2, else phase 1, else merged, else base) also has a
    short name: `heldout.bits_per_byte`.

    Raises:
        UserError: no stage has left any, or a file is damaged.
    """
    files = {stage: folder / f"{stage}.json" for stage in STAGES}
    found = {
        stage: read_json(file, made_by=stage) for stage, file in files.items() if file.exists()
    }
    if not found:
        raise UserError(f"{folder} holds no metrics of a stage; run `diffutron build` first")
    named = flatten({**_of_the_last_model(found.get("evaluate", {})), **found})
    return {name: value for name, value in named.items() if _is_number(value)}


def _of_the_last_model(evaluated: dict[str, Any]) -> dict[str, Any]:
    """heldout, perplexity_text: the text sets, with the baselines. answers: held-out instructions,
    which the stage `instructions` has the name of. tasks, generation: as in the file."""
    models = evaluated.get("models", {})
    last = next((models[name] for name in reversed(MODELS) if name in models), None)
    if last is None:
        return {}
    parts = {name: value for name, value in last.items() if isinstance(value, dict)}
    on_heldout = {name: value for name, value in last.items() if name not in parts}
    on_heldout["perplexity"] = parts.pop("perplexity", {})
    parts["answers"] = parts.pop("instructions", {})
    on_heldout.pop("seconds", None)  # those of all that was measured of the model
    essays = evaluated.get("perplexity_text", {})
    return {
        "heldout": on_heldout | {name: evaluated.get(name) for name in BASELINES},
        **parts,
        "perplexity_text": parts.get("perplexity_text", {})
        | {name: essays.get(name) for name in BASELINES},
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def named(values: dict[str, float], prefix: str) -> dict[str, float]:
    """The metrics whose names begin so; none is a UserError that tells how names begin."""
    found = {name: value for name, value in values.items() if name.startswith(prefix)}
    if not found:
        begins = dict.fromkeys(name.partition(".")[0] for name in values)
        raise UserError(
            f"no metric's name begins with {prefix!r}; they begin with {', '.join(begins)}"
        )
    return found
