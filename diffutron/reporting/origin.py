"""What a run was built from: code, parameters, data sources and machine."""

from diffutron.config.params import Params, params_digest
from diffutron.runtime import provenance

Fact = tuple[str, str]


def origin_facts(params: Params) -> list[Fact]:
    """The origin of the run in the current folder, as (name, text)."""
    code, machine, lock = provenance.code(), provenance.machine(), provenance.lock_digest()
    dirty = ", with changes that are not committed" if code.dirty else ""
    memory = "" if machine.memory_gib is None else f", {machine.memory_gib:.0f} GiB"
    libraries = ", ".join(f"{name} {found}" for name, found in machine.libraries.items())
    no_git = "not recorded: the folder is no git checkout"
    no_lock = "not recorded: the stages were run without DVC"
    return [
        ("commit", no_git if code.sha is None else f"{code.sha}{dirty}"),
        ("parameters", f"profile {params.profile}, sha256 {params_digest(params)}"),
        ("dvc.lock", f"md5 {lock}" if lock else no_lock),
        ("seed", str(params.seed)),
        *_sources(params),
        ("machine", f"{machine.processor}, {machine.cores} cores{memory}"),
        ("software", f"Python {machine.python}, {libraries}"),
    ]


def _sources(params: Params) -> list[Fact]:
    """Each source of a run in words: what it is, and what pins it."""
    corpus, instructions, evaluate = params.corpus, params.instructions, params.evaluate
    tokenizer, backbone, text = params.tokenizer, params.backbone, evaluate.perplexity_text
    phases = (instructions.phase1, instructions.phase2)
    sets = ", ".join(one.title for one in phases)
    texts = ", ".join(one.title for one in corpus.hub)
    found = []
    for subject, source, name, digest in (
        ("tokenizer", tokenizer.source, tokenizer.title, None),
        ("corpus", corpus.source, texts, corpus.digest),
        ("backbone", backbone.source, backbone.title, None),
        ("instructions", instructions.source, sets, instructions.digest),
        ("evaluation", evaluate.source, "CETVEL", evaluate.digest),
        ("perplexity text", text.source, text.title, None),
    ):
        words = {
            "hub": f"hub: {name}",
            "local": f"local folder, digest {digest}" if digest else f"local folder {name}",
            "scratch": "trained here from scratch",
            "sample": "built-in sample",
        }
        found.append((subject, words[source]))
    return found
