"""The model card of a version, generated: each number comes from the summary or the parameters."""

from typing import Any

import yaml

from diffutron.params import Params
from diffutron.registry.gate import JUDGED

DATASETS = {
    "belebele_tr": "facebook/belebele",
    "exams_tr": "exams",
    "ironytr": "mcemilg/IronyTR",
    "news_cat": "mcemilg/news-cat",
    "mnli_tr": "nli_tr",
    "sts_tr": "emrecan/stsb-mt-turkish",
    "xcopa_tr": "xcopa",
}


def model_card(params: Params, summary: dict[str, Any], *, tags: dict[str, str]) -> str:
    """A README with Hugging Face front matter: data, recipe, results, limits, how to load."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("diffutron.registry"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["percent"] = _percent
    environment.filters["fixed"] = _fixed
    final = summary["models"][JUDGED]
    template = environment.get_template("model_card.md.jinja")
    return template.render(
        front_matter=front_matter(params, final),
        params=params,
        summary=summary,
        final=final,
        tags=tags,
        total_seconds=sum(value for value in summary["seconds"].values() if value is not None),
    )


def front_matter(params: Params, final: dict[str, Any]) -> str:
    """The YAML head that the hub reads, results in the model-index form."""
    head = {
        "language": "tr",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["masked-diffusion", "mdlm", "modernbert", "turkish"],
        "model-index": [
            {
                "name": params.register_.name,
                "results": [
                    _result(params, task, score["acc"])
                    for task, score in final["tasks"].items()
                    if score["acc"] is not None
                ],
            }
        ],
    }
    return yaml.safe_dump(head, sort_keys=False, allow_unicode=True).strip()


def _result(params: Params, task: str, accuracy: float) -> dict[str, Any]:
    """One entry; a set that only has the schema of the published one does not get its name."""
    published = params.evaluation.source == "hub"
    name = task if published else f"{task} ({params.evaluation.source} stand-in)"
    return {
        "task": {"type": "multiple-choice"},
        "dataset": {"name": name, "type": DATASETS[task] if published else "other"},
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


def _fixed(value: float | None, digits: int = 3) -> str:
    return "not measured" if value is None else f"{value:.{digits}f}"
