"""Stage `backbone`: the base encoder, from the hub, from a folder, or trained from scratch."""

import time
from pathlib import Path
from typing import Any

from diffutron.config.params import Params
from diffutron.data.token_store import Samples, read_documents
from diffutron.diffusion.process.loss import masked_language_model
from diffutron.modeling.encoder import (
    count_parameters,
    load_model,
    read_special_ids,
    save_model,
    scratch_model,
)
from diffutron.modeling.tokenizer import load_tokenizer
from diffutron.modeling.vocabulary import Kept, keep_rows, vocabulary_digest
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import atomic_folder, write_json, write_text
from diffutron.runtime.hub import TOKENIZER, WEIGHTS, open_repository
from diffutron.training.batches import TrainingSet
from diffutron.training.pretrain import objective_of
from diffutron.training.record import COLUMNS


def backbone(params: Params, *, tokenizer: Path, corpus: Path, out: Path, metrics: Path) -> None:
    """A plain ModernBertForMaskedLM folder with the tokenizer beside it."""
    if params.backbone.source == "scratch":
        _train(params, tokenizer=tokenizer, corpus=corpus, out=out, metrics=metrics)
    else:
        _fetch(params, tokenizer=tokenizer, out=out, metrics=metrics)


def _train(params: Params, *, tokenizer: Path, corpus: Path, out: Path, metrics: Path) -> None:
    """Pre-training of a new encoder, as a masked language model or by the diffusion loss itself."""
    from diffutron.training.ranks import training_process
    from diffutron.training.trainer import StageRun, train

    section = params.backbone
    stage = StageRun("backbone", section, params.seed, (tokenizer, corpus), out, metrics)
    with training_process() as ranks:
        special = read_special_ids(tokenizer)
        samples, heldout = (
            read_documents(corpus, split, max_tokens=section.max_position_embeddings)
            for split in ("train", "heldout")
        )
        if section.objective == "mlm":
            objective = masked_language_model(section.mask_rate)
        else:
            objective = objective_of("linear", section.training.mask_rates)
        data = TrainingSet(samples, objective, params.seed, special.mask, special.pad)
        model = scratch_model(section, special, seed=params.seed)
        if section.embedding_window is not None:
            _start_from_neighbors(model, samples, section.embedding_window, seed=params.seed)

        def save(folder: Path) -> None:
            save_model(model, folder, tokenizer=tokenizer, description=_description("scratch"))

        train(stage, ranks, model, data, heldout, save)


def _start_from_neighbors(model: Any, samples: Samples, window: int, *, seed: int) -> None:
    """Embeddings out of counts, as long as the random ones; tokens without neighbors keep those."""
    import torch

    from diffutron.training.cooccurrence import cooccurrence_vectors

    table = model.model.embeddings.tok_embeddings.weight
    rows, size = table.shape
    vectors = cooccurrence_vectors(samples, vocab_size=rows, size=size, window=window, seed=seed)
    with torch.no_grad():
        length = table.norm(dim=1).mean()
        table.copy_(torch.where(vectors.any(dim=1, keepdim=True), vectors * length, table))


def _fetch(params: Params, *, tokenizer: Path, out: Path, metrics: Path) -> None:
    """The encoder of a folder, or of the hub at a pinned revision; the tokenizer must fit it."""
    started = time.monotonic()
    section, special = params.backbone, read_special_ids(tokenizer)
    kept, source, commit = Kept.read(tokenizer), Path(section.name), None
    if section.source == "hub":
        repository = open_repository(
            section.name, revision=section.revision, commit=section.commit, setting="backbone.name"
        )
        files = WEIGHTS if kept is None else (*WEIGHTS, *TOKENIZER)
        source, commit = repository.fetch("config.json", *files), repository.commit
    model = load_model(source, made_by="backbone")
    size = special.vocab_size if kept is None else kept.size
    if model.config.vocab_size < size:
        raise UserError(
            f"backbone.name: {section.name} has {model.config.vocab_size} token embeddings and the "
            f"tokenizer {size} tokens; take the tokenizer that belongs to it"
        )
    if kept is not None:
        _refuse_other_vocabulary(source, kept, name=section.name)
        keep_rows(model, kept)
    with atomic_folder(out) as folder:
        save_model(model, folder, tokenizer=tokenizer, description=_description(section.name))
    write_text(metrics.with_suffix(".csv"), ",".join(COLUMNS) + "\n")
    values = {"seconds": time.monotonic() - started, "device": "cpu"}
    values |= {"source": section.source, "commit": commit}
    write_json(metrics, values | count_parameters(model))


def _refuse_other_vocabulary(source: Path, kept: Kept, *, name: str) -> None:
    """Rows can be chosen by ids only where the ids mean the same tokens."""
    if not (source / "tokenizer.json").is_file():
        return
    if vocabulary_digest(load_tokenizer(source)) != kept.digest:
        raise UserError(
            f"backbone.name: the tokens of {name} are not those that tokenizer.trim has cut; "
            "let tokenizer.name and backbone.name name the same model"
        )


def _description(base: str) -> dict[str, Any]:
    return {"kind": "backbone", "base": base, "trained_with_eos": True}
