"""The model card of a version, generated: each number comes from the metrics or the parameters."""

from typing import Any

import yaml

from diffutron.config.params import Params
from diffutron.data.sources.licenses import NOT_STATED, WORDS, against, model_licenses
from diffutron.registry.evidence import own_sets
from diffutron.registry.registration_gate import JUDGED

DATASETS = {
    "belebele_tr": "facebook/belebele",
    "exams_tr": "exams",
    "ironytr": "mcemilg/IronyTR",
    "news_cat": "mcemilg/news-cat",
    "mnli_tr": "nli_tr",
    "sts_tr": "emrecan/stsb-mt-turkish",
    "xcopa_tr": "xcopa",
}
COUNTING = ("unigram", "bigram", "five_gram")
ANSWERING = ("constant", "majority_per_source", "bag_of_words")


def model_card(
    params: Params, summary: dict[str, Any], measured: dict[str, Any], *, tags: dict[str, str]
) -> str:
    """A README with Hugging Face front matter: data, recipe, results, limits, cost, how to load.

    measured: the metrics of each stage, by stage.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("diffutron.registry"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters.update(percent=_percent, fixed=fixed, count=count)
    final = summary["models"][JUDGED]
    evaluated = measured.get("evaluate", {})
    of_final = evaluated.get("models", {}).get(JUDGED, {})
    answered = of_final.get("instructions", {})
    return environment.get_template("model_card.md.jinja").render(
        front_matter=front_matter(params, final, measured),
        params=params,
        summary=summary,
        final=final,
        tags=tags,
        sources=_sources(params),
        licenses=license_names(params, measured),
        use=licensed_use(params, measured),
        corpus=measured.get("corpus"),
        instructions=measured.get("instructions", {}),
        trainings=_trainings(params, measured),
        answered={name: answered.get(name) for name in ANSWERING},
        calibration=of_final.get("calibration", {}),
        texts=_bits_per_byte(summary, evaluated),
        own_tasks=[task for task in final["tasks"] if task in own_sets(measured)],
    )


def _bits_per_byte(
    summary: dict[str, Any], evaluated: dict[str, Any]
) -> dict[str, list[float | None]]:
    """A row for each text set: the counting models, then three of ours."""
    models, other = ("base", "merged", JUDGED), evaluated.get("perplexity_text", {})
    essays = [evaluated.get("models", {}).get(name, {}).get("perplexity_text") for name in models]
    return {
        "held-out documents": [
            *(evaluated.get(name) for name in COUNTING),
            *(summary["models"][name]["bits_per_byte"] for name in models),
        ],
        "perplexity text": [
            *(other.get(name) for name in COUNTING),
            *((one or {}).get("bits_per_byte") for one in essays),
        ],
    }


def _trainings(params: Params, measured: dict[str, Any]) -> list[dict[str, Any]]:
    """The recipe of each training stage that ran here, and what came of it."""
    found = []
    for name in ("backbone", "pretrain", "instruct_phase1", "instruct_phase2"):
        if name == "backbone" and params.backbone.source != "scratch":
            continue
        training, record = getattr(params, name).training, measured.get(name, {})
        found.append(
            {
                "name": name,
                "batch_size": training.batch_size,
                "learning_rate": training.learning_rate,
                "objective": record.get("objective"),
                "eval_objective": record.get("eval_objective", record.get("objective")),
                "steps": record.get("steps", training.steps),
                "tokens": record.get("tokens"),
                "eval_loss": record.get("eval_loss"),
            }
        )
    return found


def _sources(params: Params) -> dict[str, str]:
    """Part of the model -> what it was made from, and what pins that."""
    phases = (params.instructions.phase1, params.instructions.phase2)
    hub = {
        "tokenizer": [params.tokenizer],
        "corpus": params.corpus.hub,
        "backbone": [params.backbone],
        "instructions": phases,
    }
    found = {}
    for part, entries in hub.items():
        section = getattr(params, part)
        digest = getattr(section, "digest", None)
        found[part] = WORDS.get(section.source, "") + (f", digest `{digest}`" if digest else "")
        if section.source == "hub":
            found[part] = ", ".join(one.title for one in entries)
    return found


def license_names(params: Params, measured: dict[str, Any]) -> dict[str, str]:
    """Part of the model -> the names of its licenses."""
    return {
        part: " and ".join(dict.fromkeys(one.license for one in found))
        for part, found in model_licenses(params, measured).items()
    }


def licensed_use(params: Params, measured: dict[str, Any]) -> str:
    """Whether the licenses allow commercial use: the same rule as the promotion gate's."""
    parts, accepted = model_licenses(params, measured), params.corpus.allowed_licenses
    faults = against(parts, use="commercial", allowed=accepted)
    if faults:
        return f"The licenses do not allow commercial use: {'; '.join(faults)}."
    stated = dict.fromkeys(
        one.license for found in parts.values() for one in found if not one.commercial
    )
    but = "".join(f"; `{one}` was accepted by `corpus.allowed_licenses`" for one in stated)
    return f"The licenses allow commercial use{but}."


def front_matter(params: Params, final: dict[str, Any], measured: dict[str, Any]) -> str:
    """The YAML head that the hub reads, results in the model-index form.

    `license` is the one of all parts; where they differ it is "other", and the card has the table.
    """
    names = {*license_names(params, measured).values()}
    one = names.pop() if len(names) == 1 else NOT_STATED
    head = {
        "language": "tr",
        "license": "other" if one == NOT_STATED else one.lower(),
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["masked-diffusion", "mdlm", "modernbert", "turkish"],
        "model-index": [
            {
                "name": params.register_.name,
                "results": [
                    _result(params, task, score["acc"], own=task in own_sets(measured))
                    for task, score in final["tasks"].items()
                    if score["acc"] is not None
                ],
            }
        ],
    }
    return yaml.safe_dump(head, sort_keys=False, allow_unicode=True).strip()


def _result(params: Params, task: str, accuracy: float, *, own: bool) -> dict[str, Any]:
    """One entry; a set that only has the schema of the published one does not get its name."""
    published = params.evaluate.source == "hub"
    name = task if published or own else f"{task} ({params.evaluate.source} stand-in)"
    kind = DATASETS.get(task, "other") if published else "other"
    return {
        "task": {"type": "multiple-choice"},
        "dataset": {"name": name, "type": kind},
        "metrics": [{"type": "accuracy", "value": accuracy}],
    }


def description(params: Params, summary: dict[str, Any]) -> str:
    """What the registry shows of a version, in a sentence."""
    final = summary["models"][JUDGED]
    acc, words = final["instructions"]["acc"], final["generation"]["valid_words"]
    return (
        f"Turkish masked diffusion language model, profile {params.profile}: instructions "
        f"answered exactly {_percent(acc)}, valid words {_percent(words)}. "
        "The card is README.md of the model artifact, the report is in its run."
    )


def _percent(value: float | None) -> str:
    return "not measured" if value is None else f"{100 * value:.1f} %"


def fixed(value: float | None, digits: int = 3) -> str:
    return "not measured" if value is None else f"{value:.{digits}f}"


def count(value: int | None) -> str:
    return "not measured" if value is None else f"{value:,}".replace(",", " ")
