"""The `diffutron` command: one subcommand a stage, paths as options, numbers from params.yaml."""

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from diffutron import cli_chat, cli_model
from diffutron.errors import StageFailure, UserError
from diffutron.outputs import explain_os_error
from diffutron.params import Params, load_params, parse_params

app = typer.Typer(
    name="diffutron",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Make, judge and run masked diffusion language models, Turkish first. "
    "Numbers come from params.yaml (`diffutron params`); paths are options, as in dvc.yaml.",
)

STAGES = "Stages (in order)"
ParamsFile = Annotated[Path, typer.Option("--params", help="The file of numbers.")]
Tokenizer = Annotated[Path, typer.Option(help="Tokenizer folder.")]
Corpus = Annotated[Path, typer.Option(help="Corpus folder.")]
Backbone = Annotated[Path, typer.Option(help="Base encoder, a Hugging Face folder.")]
Instructions = Annotated[Path, typer.Option(help="Instructions folder.")]
Out = Annotated[Path, typer.Option(help="What to write; replaced as a whole when complete.")]
Metrics = Annotated[Path, typer.Option(help="Metrics file to write (JSON).")]
PARAMS = Path("params.yaml")


@app.command(rich_help_panel=STAGES)
def tokenizer(
    out: Out = Path("data/tokenizer"),
    metrics: Metrics = Path("metrics/tokenizer.json"),
    params: ParamsFile = PARAMS,
) -> None:
    """Resolve the tokenizer: from the hub, a folder, or trained on the sources."""
    from diffutron.data.sources import read_texts
    from diffutron.modeling.tokenizer import tokenizer as stage

    loaded = load_params(params)
    stage(loaded, read_texts(loaded), out=out, metrics=metrics)


@app.command(rich_help_panel=STAGES)
def corpus(
    tokenizer: Tokenizer = Path("data/tokenizer"),
    out: Out = Path("data/corpus"),
    metrics: Metrics = Path("metrics/corpus.json"),
    params: ParamsFile = PARAMS,
) -> None:
    """Read sources, normalise, filter, deduplicate, sample, split, tokenise."""
    from diffutron.data.corpus import corpus as stage

    stage(load_params(params), tokenizer=tokenizer, out=out, metrics=metrics)


@app.command(rich_help_panel=STAGES)
def backbone(
    tokenizer: Tokenizer = Path("data/tokenizer"),
    corpus: Corpus = Path("data/corpus"),
    out: Out = Path("models/backbone"),
    metrics: Metrics = Path("metrics/backbone.json"),
    params: ParamsFile = PARAMS,
) -> None:
    """Resolve the base encoder: from the hub, a folder, or trained from scratch."""
    loaded = load_params(params)
    if _ranks_did_it(on_cpu=1):
        return
    from diffutron.training.backbone import backbone as stage

    stage(loaded, tokenizer=tokenizer, corpus=corpus, out=out, metrics=metrics)


@app.command(rich_help_panel=STAGES)
def pretrain(
    backbone: Backbone = Path("models/backbone"),
    corpus: Corpus = Path("data/corpus"),
    out: Out = Path("models/adapter"),
    metrics: Metrics = Path("metrics/pretrain.json"),
    params: ParamsFile = PARAMS,
) -> None:
    """Continual LoRA pre-training with the masked diffusion objective, DeepSpeed ZeRO, N ranks."""
    loaded = load_params(params)
    if _ranks_did_it(on_cpu=2):
        return
    from diffutron.training.pretrain import pretrain as stage

    stage(loaded, backbone=backbone, corpus=corpus, out=out, metrics=metrics)


@app.command(rich_help_panel=STAGES)
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


@app.command(rich_help_panel=STAGES)
def instructions(
    tokenizer: Tokenizer = Path("data/tokenizer"),
    out: Out = Path("data/instructions"),
    metrics: Metrics = Path("metrics/instructions.json"),
    params: ParamsFile = PARAMS,
) -> None:
    """Both instruction sets in the chat format, filtered and split."""
    from functools import partial

    from diffutron.data.instructions import instructions as stage
    from diffutron.modeling.tokenizer import encode_chats, load_tokenizer

    loaded = load_params(params)
    stage(loaded, partial(encode_chats, load_tokenizer(tokenizer)), out=out, metrics=metrics)


@app.command(name="instruct_phase1", rich_help_panel=STAGES)
def instruct_phase1(
    model: Annotated[Path, typer.Option(help="Model to start from.")] = Path("models/merged"),
    instructions: Instructions = Path("data/instructions"),
    out: Out = Path("models/phase1"),
    metrics: Metrics = Path("metrics/instruct_phase1.json"),
    params: ParamsFile = PARAMS,
) -> None:
    """Instruction tuning, first phase."""
    _instruct(1, params, model=model, instructions=instructions, out=out, metrics=metrics)


@app.command(name="instruct_phase2", rich_help_panel=STAGES)
def instruct_phase2(
    model: Annotated[Path, typer.Option(help="Model to start from.")] = Path("models/phase1"),
    instructions: Instructions = Path("data/instructions"),
    out: Out = Path("models/phase2"),
    metrics: Metrics = Path("metrics/instruct_phase2.json"),
    params: ParamsFile = PARAMS,
) -> None:
    """Instruction tuning, second phase; starts from the first."""
    _instruct(2, params, model=model, instructions=instructions, out=out, metrics=metrics)


def _instruct(phase: int, params: Path, **paths: Path) -> None:
    loaded = load_params(params)
    if _ranks_did_it(on_cpu=1):
        return
    from diffutron.training.instruct import instruct as stage

    stage(loaded, phase, **paths)


@app.command(rich_help_panel=STAGES)
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

    stage(
        load_params(params),
        backbone=backbone,
        merged=merged,
        phase1=phase1,
        phase2=phase2,
        corpus=corpus,
        instructions=instructions,
        out=out,
        metrics=metrics,
    )


@app.command(rich_help_panel=STAGES)
def report(
    metrics_dir: Annotated[Path, typer.Option(help="Folder of metrics.")] = Path("metrics"),
    evaluation: Annotated[Path, typer.Option(help="Evaluation folder.")] = Path("data/evaluation"),
    corpus: Corpus = Path("data/corpus"),
    instructions: Instructions = Path("data/instructions"),
    out: Out = Path("report"),
    summary: Annotated[Path, typer.Option(help="Summary to write.")] = Path("metrics/summary.json"),
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
    )


@app.command(rich_help_panel=STAGES)
def register(
    model: Annotated[Path, typer.Option(help="Model to register.")] = Path("models/phase2"),
    report: Annotated[Path, typer.Option(help="Report folder.")] = Path("report"),
    metrics_dir: Annotated[Path, typer.Option(help="Folder of metrics.")] = Path("metrics"),
    summary: Annotated[Path, typer.Option(help="Summary.")] = Path("metrics/summary.json"),
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
        summary=summary,
        out=out,
    )


@app.command()
def params(
    profile: Annotated[
        str, typer.Option(help="demo, small, paper (infra/profiles), or current: the file itself.")
    ],
    override: Annotated[
        list[str] | None,
        typer.Option("-S", "--set", help="section.key=value; may be given many times."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The file to write.")] = PARAMS,
    keep_changes: Annotated[
        bool, typer.Option("--keep-changes", help="Refuse to replace changes made by hand.")
    ] = False,
) -> None:
    """Compose a profile with overrides, check it, write params.yaml."""
    from diffutron.profiles import write_params

    aside = write_params(profile, override or [], path=out, keep_changes=keep_changes)
    if aside:
        typer.echo(f"{out} had changes made by hand; they are kept in {aside}")
    typer.echo(f"wrote {out} (profile {profile})")


@app.command()
def plan(
    profile: Annotated[
        str | None, typer.Option(help="A profile to plan; without it, params.yaml as it is.")
    ] = None,
    override: Annotated[
        list[str] | None, typer.Option("-S", "--set", help="section.key=value, with --profile.")
    ] = None,
    ranks: Annotated[int | None, typer.Option(min=1, help="Ranks of a training stage.")] = None,
    gpu_tflops: Annotated[
        float | None, typer.Option(min=1.0, help="Plan for GPUs of this bf16 speed instead.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Plain JSON.")] = False,
    params: ParamsFile = PARAMS,
) -> None:
    """What each stage will cost: tokens, arithmetic, memory, hours, disk. Runs nothing."""
    from diffutron.plan import plan as planned
    from diffutron.plan import print_plan, this_machine
    from diffutron.profiles import compose

    if profile is None:
        values = load_params(params)
    else:
        values = parse_params(compose(profile, override or []), origin=f"profile {profile}")
    machine = this_machine(ranks=ranks, gpu_tflops=gpu_tflops)
    print_plan(planned(values, machine=machine), as_json=as_json)


@app.command()
def promote(
    version: Annotated[int, typer.Argument(min=1, help="Version of the registered model.")],
    by: Annotated[str, typer.Option(help="Who decides.")],
    reason: Annotated[str, typer.Option(help="Why.")],
) -> None:
    """Make a version the `champion`; who decided, why and when stays with it."""
    from diffutron.registry.promote import promote as move

    decision = move(version, by=by, reason=reason)
    typer.echo(f"champion: version {decision.version} (before: {decision.previous or 'none'})")


@app.command()
def up(
    prefect_port: Annotated[int, typer.Option(min=1, max=65535, help="Prefect's port.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535, help="MLflow's port.")] = 5000,
) -> None:
    """Start Prefect, MLflow and the deployments on 127.0.0.1; Ctrl-C stops all of it."""
    from diffutron.up import up as start

    start(prefect_port=prefect_port, mlflow_port=mlflow_port)


for _command in (cli_model.generate, cli_model.infill, cli_model.score, cli_chat.chat):
    app.command(rich_help_panel="Use a model")(_command)


def _ranks_did_it(*, on_cpu: int) -> bool:
    """Start this same command once a rank where more than one is asked for; True when done."""
    from diffutron.training.launch import launch_ranks

    return launch_ranks(sys.argv[1:], ranks_on_cpu=on_cpu)


def _fail(message: str, code: int = 2) -> NoReturn:
    """One line on standard error, whatever line breaks the message came with."""
    print("error: " + " ".join(message.split()), file=sys.stderr, flush=True)
    raise SystemExit(code)


def main() -> None:
    """Entry point: user mistakes end with one line and exit code 2, never with a traceback."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        app()
    except UserError as error:
        _fail(str(error))
    except StageFailure as error:
        _fail(str(error), code=1)
    except OSError as error:
        explained = explain_os_error(error, Path(error.filename or "output"))
        if explained is None:
            raise
        _fail(str(explained))


__all__ = ["Params", "app", "main"]
