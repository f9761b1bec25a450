"""What a run was built from: code, parameters, data sources and machine."""

from dataclasses import dataclass

from diffutron.config.params import Params, params_digest
from diffutron.runtime import provenance as fingerprints


@dataclass(frozen=True)
class Origin:
    """Facts as (name, text), and the hash of every output by stage."""

    facts: list[tuple[str, str]]
    outputs: dict[str, dict[str, str]]


def provenance(params: Params) -> Origin:
    """The origin of the run in the current folder."""
    code, machine = fingerprints.code(), fingerprints.machine()
    memory = "" if machine.memory_gib is None else f", {machine.memory_gib:.0f} GiB"
    libraries = ", ".join(f"{name} {found}" for name, found in machine.libraries.items())
    facts = [
        ("commit", _commit(code)),
        ("parameters", f"profile {params.profile}, sha256 {params_digest(params)}"),
        ("dvc.lock", _lock()),
        ("seed", str(params.seed)),
        *_sources(params),
        ("machine", f"{machine.processor}, {machine.cores} cores{memory}"),
        ("software", f"Python {machine.python}, {libraries}"),
    ]
    return Origin(facts, fingerprints.stage_outputs())


def _commit(code: fingerprints.Code) -> str:
    if code.sha is None:
        return "not recorded: the folder is no git checkout"
    return f"{code.sha}{', with changes that are not committed' if code.dirty else ''}"


def _lock() -> str:
    digest = fingerprints.lock_digest()
    return f"md5 {digest}" if digest else "not recorded: the stages were run without DVC"


def _sources(params: Params) -> list[tuple[str, str]]:
    corpus = ", ".join(f"{d.name} @ {d.revision}" for d in params.corpus.hub)
    phases = (params.instructions.phase1, params.instructions.phase2)
    sets = ", ".join(f"{phase.name} @ {phase.revision}" for phase in phases)
    text = params.evaluate.perplexity_text
    tokenizer, backbone = params.tokenizer, params.backbone
    return [
        ("tokenizer", _source(tokenizer.source, f"{tokenizer.name} @ {tokenizer.revision}", None)),
        ("corpus", _source(params.corpus.source, corpus, params.corpus.digest)),
        ("backbone", _source(backbone.source, f"{backbone.name} @ {backbone.revision}", None)),
        ("instructions", _source(params.instructions.source, sets, params.instructions.digest)),
        ("evaluation", _source(params.evaluate.source, "CETVEL", params.evaluate.digest)),
        ("perplexity text", _source(text.source, f"{text.name} @ {text.revision}", None)),
    ]


def _source(source: str, name: str, digest: str | None) -> str:
    """A source in words: what it is and what pins it."""
    if source == "hub":
        return f"hub: {name}"
    if source == "local":
        return f"local folder, digest {digest}" if digest else f"local folder {name}"
    return "trained here from scratch" if source == "scratch" else "built-in sample"
