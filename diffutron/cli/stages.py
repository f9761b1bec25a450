"""The stages on the command line: paths as options, numbers from params.yaml."""

import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from diffutron.config.params import load_params

ParamsFile = Annotated[Path, typer.Option("--params", help="The file of numbers.")]
Tokenizer = Annotated[Path, typer.Option(help="Tokenizer folder.")]
Corpus = Annotated[Path, typer.Option(help="Corpus folder.")]
Backbone = Annotated[Path, typer.Option(help="Base encoder, a Hugging Face folder.")]
Instructions = Annotated[Path, typer.Option(help="Instructions folder.")]
Out = Annotated[Path, typer.Option(help="What to write; replaced as a whole when complete.")]
Metrics = Annotated[Path, typer.Option(help="Metrics file to write (JSON).")]
Override = Annotated[
    list[str] | None,
    typer.Option("-S", "--set", help="section.key=value; may be given many times."),
]
PARAMS = Path("params.yaml")
Stage = Callable[..., None]


def per_rank(*, on_cpu: int) -> Callable[[Stage], Stage]:
    """Let a stage run in each rank: this process starts the ranks and waits, or is one of them.

    on_cpu: number of ranks on a machine without GPU, unless DIFFUTRON_RANKS says another.
    """

    def decorate(stage: Stage) -> Stage:
        @wraps(stage)
        def launch_or_run(**options: Any) -> None:
            from diffutron.training.ranks import launch_ranks

            load_params(options["params"])  # a wrong file is told here, before any start
            if not launch_ranks(sys.argv[1:], ranks_on_cpu=on_cpu):
                stage(**options)

        return launch_or_run

    return decorate


def shown(stage: Stage) -> Stage:
    """The stage, which shows itself in MLflow while DVC runs it."""

    @wraps(stage)
    def run(**options: Any) -> None:
        if "DVC_STAGE" not in os.environ:
            return stage(**options)
        from diffutron.operations.live import shown_live

        with shown_live(stage.__name__):
            return stage(**options)

    return run


def tokenizer(
    out: Out = Path("data/tokenizer"),
    metrics: Metrics = Path("metrics/tokenizer.json"),
    params: ParamsFile = PARAMS,
) -> None:
    """Resolve the tokenizer: from the hub, a folder, or trained on the sources."""
    from diffutron.data.sources.sources import read_texts
    from diffutron.modeling.tokenizer import tokenizer as stage

    loaded = load_params(params)
    stage(loaded, read_texts(loaded), out=out, metrics=metrics)


def corpus(
    tokenizer: Tokenizer = Path("data/tokenizer"),
    out: Out = Path("data/corpus"),
    metrics: Metrics = Path("metrics/corpus.json"),
    params: ParamsFile = PARAMS,
    executor: Annotated[
        Literal["local", "ray", "slurm"] | None,
        typer.Option(help="Who cleans the shards; by default $DIFFUTRON_EXECUTOR, else `local`."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes of `local`; the cores there are.")
    ] = None,
    explain: Annotated[
        Path | None, typer.Option(help="Write nothing: say what each step says of this file.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --explain: one object a line.")
    ] = False,
) -> None:
    """Read sources, normalize, filter, deduplicate, sample, split, tokenize."""
    loaded = load_params(params)
    if explain is not None:
        from diffutron.data.corpus.explain import explain as explained
        from diffutron.data.corpus.explain import to_json, to_text

        for one in explained(loaded, tokenizer=tokenizer, file=explain):
            typer.echo(to_json(one) if as_json else to_text(one))
        return
    from diffutron.data.corpus.corpus import corpus as stage

    stage(loaded, tokenizer=tokenizer, out=out, metrics=metrics, executor=executor, workers=workers)


@per_rank(on_cpu=1)
def backbone(
    tokenizer: Tokenizer = Path("data/tokenizer"),
    corpus: Corpus = Path("data/corpus"),
    out: Out = Path("models/backbone"),
    metrics: Metrics = Path("metrics/backbone.json"),
    params: ParamsFile = PARAMS,
) -> None:
    """Resolve the base encoder: from the hub, a folder, or trained from scratch."""
    from diffutron.training.backbone import backbone as stage

    stage(load_params(params), tokenizer=tokenizer, corpus=corpus, out=out, metrics=metrics)


@per_rank(on_cpu=2)
def pretrain(
    backbone: Backbone = Path("models/backbone"),
    corpus: Corpus = Path("data/corpus"),
    out: Out = Path("models/adapter"),
    metrics: Metrics = Path("metrics/pretrain.json"),
    params: ParamsFile = PARAMS,
) -> None:
    """Continual LoRA pre-training with the masked diffusion objective, DeepSpeed ZeRO, N ranks."""
    from diffutron.training.pretrain import pretrain as stage

    stage(load_params(params), backbone=backbone, corpus=corpus, out=out, metrics=metrics)


def merge(
    backbone: Backbone = Path("models/backbone"),
    adapter: Annotated[Path, typer.Option(help="Adapter folder (PEFT).")] = Path("models/adapter"),
    out: Out = Path("models/merged"),
    metrics: Metrics = Path("metrics/merge.json"),
    params: ParamsFile = PARAMS,
) -> None:
    """Merge the adapter into the base encoder: a plain masked language model."""
    from diffutron.training.merge import merge as stage

    stage(load_params(params), backbone=backbone, adapter=adapter, out=out, metrics=metrics)


def instructions(
    tokenizer: Tokenizer = Path("data/tokenizer"),
    out: Out = Path("data/instructions"),
    metrics: Metrics = Path("metrics/instructions.json"),
    params: ParamsFile = PARAMS,
) -> None:
    """Both instruction sets in the chat format, filtered and split."""
    from diffutron.data.instructions.instructions import instructions as stage
    from diffutron.inference.prompts import chat_encoder

    stage(load_params(params), chat_encoder(tokenizer), out=out, metrics=metrics)


@per_rank(on_cpu=1)
def instruct_phase1(
    model: Annotated[Path, typer.Option(help="Model to start from.")] = Path("models/merged"),
    instructions: Instructions = Path("data/instructions"),
    corpus: Corpus = Path("data/corpus"),
    out: Out = Path("models/phase1"),
    metrics: Metrics = Path("metrics/instruct_phase1.json"),
    params: ParamsFile = PARAMS,
) -> None:
    """Instruction tuning, first phase."""
    from diffutron.training.instruct import instruct as stage

    paths = {"model": model, "instructions": instructions, "corpus": corpus, "out": out}
    stage(load_params(params), 1, metrics=metrics, **paths)


@per_rank(on_cpu=1)
def instruct_phase2(
    model: Annotated[Path, typer.Option(help="Model to start from.")] = Path("models/phase1"),
    instructions: Instructions = Path("data/instructions"),
    corpus: Corpus = Path("data/corpus"),
    out: Out = Path("models/phase2"),
    metrics: Metrics = Path("metrics/instruct_phase2.json"),
    params: ParamsFile = PARAMS,
) -> None:
    """Instruction tuning, second phase; starts from the first."""
    from diffutron.training.instruct import instruct as stage

    paths = {"model": model, "instructions": instructions, "corpus": corpus, "out": out}
    stage(load_params(params), 2, metrics=metrics, **paths)


def evaluate(
    backbone: Backbone = Path("models/backbone"),
    merged: Annotated[Path, typer.Option(help="Merged model.")] = Path("models/merged"),
    phase1: Annotated[Path, typer.Option(help="Model after phase 1.")] = Path("models/phase1"),
    phase2: Annotated[Path, typer.Option(help="Model after phase 2.")] = Path("models/phase2"),
    corpus: Corpus = Path("data/corpus"),
    instructions: Instructions = Path("data/instructions"),
    out: Out = Path("data/evaluation"),
    metrics: Metrics = Path("metrics/evaluate.json"),
    params: ParamsFile = PARAMS,
) -> None:
    """Likelihood, CETVEL tasks, instructions and generation, for all four models."""
    from diffutron.evaluation.evaluate import evaluate as stage

    folders = {"base": backbone, "merged": merged, "phase1": phase1, "phase2": phase2}
    paths = {"corpus": corpus, "instructions": instructions, "out": out, "metrics": metrics}
    stage(load_params(params), folders, **paths)


def report(
    metrics_dir: Annotated[Path, typer.Option(help="Folder of metrics.")] = Path("metrics"),
    evaluation: Annotated[Path, typer.Option(help="Evaluation folder.")] = Path("data/evaluation"),
    corpus: Corpus = Path("data/corpus"),
    instructions: Instructions = Path("data/instructions"),
    out: Out = Path("report"),
    summary: Annotated[Path, typer.Option(help="Headline figures to write.")] = Path(
        "metrics/summary.json"
    ),
    full: Annotated[Path, typer.Option(help="All numbers to write.")] = Path("metrics/full.json"),
    params: ParamsFile = PARAMS,
) -> None:
    """One self-contained page with everything that was measured."""
    from diffutron.reporting.report import report as stage

    stage(
        load_params(params),
        metrics_dir=metrics_dir,
        evaluation=evaluation,
        corpus=corpus,
        instructions=instructions,
        out=out,
        summary=summary,
        full=full,
    )


def register(
    model: Annotated[Path, typer.Option(help="Model to register.")] = Path("models/phase2"),
    report: Annotated[Path, typer.Option(help="Report folder.")] = Path("report"),
    metrics_dir: Annotated[Path, typer.Option(help="Folder of metrics.")] = Path("metrics"),
    full: Annotated[Path, typer.Option(help="All numbers.")] = Path("metrics/full.json"),
    evaluation: Annotated[Path, typer.Option(help="Evaluation folder.")] = Path("data/evaluation"),
    out: Out = Path("registry/registered.json"),
    params: ParamsFile = PARAMS,
) -> None:
    """Log to MLflow; register a version as `challenger` if the gate holds."""
    from diffutron.registry.register import register as stage

    stage(
        load_params(params),
        model=model,
        report=report,
        metrics_dir=metrics_dir,
        full=full,
        evaluation=evaluation,
        out=out,
    )
