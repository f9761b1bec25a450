"""What an arm is judged by: numbers of its stages, or of its last model on held-out text.

Names are those that `diffutron metrics` prints. Where `evaluate` is no stage of the sweep, the last
model is measured on text alone, by the code of that stage.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffutron.config.params import STAGES, Params
from diffutron.data.evaluation_sets.perplexity_text import read_perplexity_text
from diffutron.evaluation.evaluate import text_numbers
from diffutron.evaluation.perplexity import heldout_set, measure, text_set
from diffutron.inference.language_model import find_device
from diffutron.lab.workshop import Step, step_of
from diffutron.modeling.encoder import load_model
from diffutron.modeling.tokenizer import load_tokenizer
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import write_json

MODELS = {
    "backbone": "models/backbone",
    "merge": "models/merged",
    "instruct_phase1": "models/phase1",
    "instruct_phase2": "models/phase2",
}
KINDS = ("heldout", "perplexity_text")
OF_EVALUATE = ("tasks", "answers", "generation")
RESULT = "metrics/measure.json"
LOWER = ("bits_per_byte", "nelbo", "perplexity", "loss", "seconds", "repetition", "empty")


def lower_is_better(name: str) -> bool:
    """By the words of a measure's name; shares of right answers are better the higher they are."""
    return any(word in name for word in LOWER)


def measuring_step(stages: Sequence[str], names: Sequence[str], *, origin: str) -> Step | None:
    """The step that measures the last model of these stages, or None where stages tell all.

    Raises:
        UserError: a name that nothing will measure.
    """
    wanted = [name for name in names if name.partition(".")[0] not in STAGES]
    for name in names:
        first = name.partition(".")[0]
        if first in OF_EVALUATE and "evaluate" not in stages:
            raise UserError(f"{origin}: measure: {name} needs the stage `evaluate` among stages")
        if first in STAGES and first not in stages:
            raise UserError(f"{origin}: measure: {name} needs the stage {first} among stages")
        if first not in (*STAGES, *OF_EVALUATE, *KINDS):
            allowed = ", ".join((*KINDS, *OF_EVALUATE, *stages))
            raise UserError(f"{origin}: measure: {name!r} is no metric; names begin with {allowed}")
    if not wanted or "evaluate" in stages:
        return None
    models = [stage for stage in stages if stage in MODELS]
    if not models:
        raise UserError(f"{origin}: measure: none of the stages makes a model to measure")
    evaluate = step_of("evaluate")
    kinds = [kind for kind in KINDS if any(name.startswith(f"{kind}.") for name in wanted)]
    return Step(
        name="measure",
        command=(
            f"python -m diffutron measure-text --model {MODELS[models[-1]]} --corpus data/corpus "
            f"--kinds {','.join(kinds)} --out {RESULT}"
        ),
        params=("seed", "evaluate"),
        code=evaluate.code,
        needs=(models[-1], "corpus"),
        outs=(RESULT,),
    )


def measure_text(
    params: Params, *, model: Path, corpus: Path, kinds: Sequence[str], out: Path
) -> None:
    """Bits per byte and perplexity of a model on held-out documents, the perplexity text, or both,
    written to `out` by kind."""
    tokenizer = load_tokenizer(model)
    section, seed = params.evaluate, params.seed
    lm: Any = load_model(model, made_by="backbone")
    lm = lm.to(find_device(None)).eval()
    found = {}
    for kind in kinds:
        if kind == "heldout":
            texts = heldout_set(corpus, tokenizer, documents=section.heldout_documents, seed=seed)
        else:
            texts = text_set(read_perplexity_text(section.perplexity_text, seed=seed), tokenizer)
        measured = measure(
            lm, tokenizer, texts, num_samples=section.nelbo_samples, seed=seed, desc=kind
        )
        found[kind] = text_numbers(measured)
    write_json(out, found)
