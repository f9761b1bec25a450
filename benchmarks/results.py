"""The page of what a run of profile `small` measured, docs/results.md: no number is typed by hand.

python -m benchmarks.results --project . --out docs/results.md
"""

import argparse
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

from diffutron.config.params import load_params
from diffutron.reporting.inputs import Inputs, read_inputs
from diffutron.reporting.report import build_view
from diffutron.reporting.summary import build_summary
from diffutron.reporting.tables import Table
from diffutron.runtime.files import write_text
from diffutron.runtime.tables import markdown_table

ANSWERS = 10  # the first rows of the held-out set, right or wrong
SHOWN = 160  # characters of a question, from its end
HEAD = """\
# A small model on real Turkish text

One run of the profile `{profile}` on a folder of real text, instructions and evaluation rows, with
no download: {parameters} parameters, {seconds:.0f} s ({minutes:.0f} min) for all stages. Everything
is reported as it came out, also where it is at chance. `python -m benchmarks.results` makes this
page from the files of the run.

```bash
DIFFUTRON_DATA=/path/to/data diffutron params --profile {profile}
DIFFUTRON_DATA=/path/to/data dvc repro
python -m benchmarks.results --project . --out docs/results.md
```

{verdict}"""
SMALL = """Two sets are stand-ins for Belebele and MultiNLI-TR and carry their own names; nothing
here compares with published numbers. No row of an evaluation set is read in training."""


def page(view: dict[str, Any], inputs: Inputs) -> Iterator[str]:
    """The parts of the page."""
    seconds = sum(values.get("seconds") or 0.0 for values in inputs.metrics.values())
    count = inputs.metrics["backbone"]["parameters"]
    yield HEAD.format(
        profile=view["profile"],
        parameters=f"{count / 1e6:.1f} M",
        seconds=seconds,
        minutes=seconds / 60,
        verdict=view["verdict"],
    )
    yield "## Text"
    yield from parts(view["language"])
    yield "### " + view["perplexity"].title
    yield from parts(view["perplexity"])
    yield "## Seven tasks"
    yield SMALL
    yield from parts(view["tasks"][0])
    yield "## Instructions"
    yield from parts(view["answers_table"])
    yield f"The first {ANSWERS} held-out rows, as they came:"
    rows = [
        [asked(one["prompt"]), one["expected"], one["generated"] or "(empty)"]
        for one in inputs.answers["phase2"][:ANSWERS]
    ]
    yield table(["question", "expected", "phase 2"], rows)
    if view["decisions"].rows:
        yield "### Decisions"
        yield from parts(view["decisions"])
    yield "## Training"
    yield from parts(view["training"])
    yield "\n".join(f"- {stage}: {text}" for stage, text in view["curve_lines"])
    for one in view["data"]:
        yield f"### {one.title}"
        yield from parts(one)
    yield "## Built from what, at what cost"
    yield "\n".join(f"- {key}: {text}" for key, text in view["provenance"])
    yield from parts(view["stages"])


def parts(one: Table) -> Iterator[str]:
    """A table of the report and its notes."""
    cells = [
        [f"{c.text} ({'; '.join(c.notes)})" if c.notes else c.text for c in row] for row in one.rows
    ]
    yield table(one.columns, cells)
    yield from one.notes


def table(head: list[str], rows: list[list[str]]) -> str:
    return markdown_table(head, [[text.replace("\n", " / ") for text in row] for row in rows])


def asked(prompt: str) -> str:
    return prompt if len(prompt) <= SHOWN else "…" + prompt[-SHOWN:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, default=Path(), help="the folder of the run")
    parser.add_argument("--out", type=Path, default=Path("docs/results.md"))
    given = parser.parse_args()
    out = given.out.absolute()
    with chdir(given.project):
        params = load_params(Path("params.yaml"))
        inputs = read_inputs(
            metrics_dir=Path("metrics"),
            evaluation=Path("data/evaluation"),
            corpus=Path("data/corpus"),
            instructions=Path("data/instructions"),
        )
        view = build_view(params, inputs, build_summary(inputs, profile=params.profile))
        write_text(out, "\n\n".join(page(view, inputs)) + "\n")


if __name__ == "__main__":
    main()
