"""What a chain of stages would leave behind, in small: four models, a corpus, instructions."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TEXTS = [
    "Kedi bahçede uyuyor.",
    "Köpek evde bekliyor, kuş ağaçta ötüyor.",
    "Ankara büyük bir kenttir.",
    "Öğretmen kitabı okudu.",
    "Yarın sabah yola çıkacağız, akşam döneceğiz.",
    "Çocuklar top oynuyor.",
]
SMALL = {
    "evaluate.max_items": 3,
    "evaluate.max_items_final": 4,
    "evaluate.likelihood_rows": 3,
    "evaluate.nelbo_samples": 4,
    "evaluate.heldout_documents": 5,
    "evaluate.perplexity_text.documents": 2,
    "evaluate.instruction_rows": 6,
    "evaluate.generation.max_new_tokens": 6,
    "evaluate.generation.num_steps": 3,
    "evaluate.generation.block_length": 3,
    "evaluate.traces": 2,
}


@pytest.fixture(scope="session")
def corpus_dir(tmp_path_factory: pytest.TempPathFactory, tiny: tuple[Any, Any]) -> Path:
    folder = tmp_path_factory.mktemp("evaluation") / "corpus"
    folder.mkdir()
    write_split(folder, "train", TEXTS * 3, tiny[1])
    write_split(folder, "heldout", TEXTS, tiny[1])
    words = sorted({word.strip(".,") for text in TEXTS for word in text.split()})
    (folder / "words.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    return folder


def write_split(folder: Path, split: str, texts: list[str], tokenizer: Any) -> None:
    import polars

    ids = [tokenizer(text)["input_ids"] for text in texts]
    np.save(folder / f"{split}_ids.npy", np.concatenate(ids).astype(np.uint16))
    np.save(folder / f"{split}_bounds.npy", np.cumsum([0, *map(len, ids)]).astype(np.int64))
    polars.DataFrame({"id": [str(n) for n in range(len(texts))], "text": texts}).write_parquet(
        folder / f"{split}.parquet"
    )


QUESTIONS = [("Kedi ne yapıyor?", "uyuyor"), ("Ankara nedir?", "kent"), ("Kim bekliyor?", "köpek")]


@pytest.fixture(scope="session")
def instructions_dir(tmp_path_factory: pytest.TempPathFactory, tiny: tuple[Any, Any]) -> Path:
    import polars

    from diffutron.modeling.tokenizer import encode_answer, encode_prompt

    folder = tmp_path_factory.mktemp("evaluation") / "instructions"
    folder.mkdir()
    for phase in (1, 2):
        rows = []
        for number, (prompt, answer) in enumerate(QUESTIONS * 4):
            start, rest = encode_prompt(tiny[1], prompt), encode_answer(tiny[1], answer)
            rows.append(
                {
                    "id": f"{phase}-{number}",
                    "source": f"source {number % 2}",
                    "prompt": prompt,
                    "answer": answer,
                    "input_ids": [*start, *rest],
                    "answer_start": len(start),
                    "answer_end": len(start) + len(rest),
                }
            )
        polars.DataFrame(rows).write_parquet(folder / f"phase{phase}_heldout.parquet")
        polars.DataFrame(rows[::2]).write_parquet(folder / f"phase{phase}_train.parquet")
    return folder


@pytest.fixture(scope="session")
def model_dirs(
    tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path, tiny: tuple[Any, Any]
) -> dict[str, Path]:
    """Four models with one tokenizer: the tiny one, and the same with weights moved a little."""
    import copy

    import torch

    folders = {"base": tiny_model_dir}
    for number, name in enumerate(("merged", "phase1", "phase2"), 1):
        folder = tmp_path_factory.mktemp("evaluation") / name
        shutil.copytree(tiny_model_dir, folder, dirs_exist_ok=True)
        model = copy.deepcopy(tiny[0])
        with torch.no_grad():
            for weight in model.parameters():
                generator = torch.Generator().manual_seed(number)
                weight += 0.02 * torch.randn(weight.shape, generator=generator)
        model.save_pretrained(folder)
        folders[name] = folder
    return folders


@pytest.fixture(scope="session")
def rows_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local folder with a few rows of every set: five as they are named, two stand-ins."""
    import json

    folder = tmp_path_factory.mktemp("rows")
    passage = ["Kedi bahçede uyudu.", "Köpek evde bekledi."]
    names = ["Kedi", "Köpek", "Kuş", "At"]
    sets = {
        "standin_mrc4_from_xquad_tr": [
            {"flores_passage": passage[n % 2], "question": f"Kim {n}?"}
            | {"correct_answer_num": str(1 + n % 4)}
            | {f"mc_answer{k + 1}": f"{names[k]} {n}" for k in range(4)}
            for n in range(8)
        ],
        "exams_tr_validation": [_exam(n) for n in range(6)],
        "exams_tr_train": [*(_exam(n) for n in range(20, 32)), _exam(40) | {"answerKey": 7}],
        "ironytr": [{"text": f"Ne güzel gün {n}!", "label": n % 2} for n in range(8)],
        "news_cat_test": [_news(n) for n in range(10)],
        "news_cat_train": [_news(n) for n in range(20, 45)],
        "standin_nli_2way_from_sts_tr": [
            {"premise": f"Adam {n} koşuyor.", "hypothesis": "Biri koşuyor.", "label": n % 2}
            for n in range(6)
        ],
        "sts_tr_test": [
            {"sentence1": f"Bir kız {n}.", "sentence2": "Bir çocuk.", "score": n / 2}
            for n in range(9)
        ],
        "sts_tr_train": [
            {"sentence1": f"Bir kız {n}.", "sentence2": "Bir çocuk.", "score": n % 6 * 1.0}
            for n in range(24)
        ],
        "xcopa_tr_test": [
            {"premise": f"Ürün {n} kırıldı.", "choice1": "İnceydi.", "choice2": f"Isındı {n}.",
             "question": "cause", "label": n % 2}
            for n in range(6)
        ],
    }  # fmt: skip
    for name, rows in sets.items():
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def _news(n: int) -> dict[str, Any]:
    label = ("sport", "magazine", "politics", "health", "economy")[n % 5]
    return {"text": f"haber {label} {n}", "label": label}


def _exam(n: int) -> dict[str, Any]:
    texts, labels = [f"{word} {n}" for word in ("bir", "iki", "üç", "dört")], list("ABCD")
    choices = {"text": texts, "label": labels}
    return {"question": {"stem": f"Kaç {n}?", "choices": choices}, "answerKey": labels[n % 4]}


SYSTEMS = """
scoring: {{max_rows: 4, batch_tokens: 400, seed: 13}}
contamination:
  {{ngram: 2, min_words: 3, min_item_words: 3, threshold: 0.3,
   short_threshold: 0.85, whole_fields: null}}
systems:
  - {{name: random, architecture: baseline}}
  - {{name: constant, architecture: baseline}}
  - {{name: bow, architecture: supervised}}
  - name: tiny
    architecture: masked_diffusion
    model: {model}
    training: [{training}]
    column: Tiny
    published: {{news_cat: 0.324, belebele_tr: 0.27}}
  - {{name: absent, architecture: masked_diffusion, model: no/such/folder}}
  - {{name: other, architecture: encoder_decoder, model: {t5}}}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_model_dir, rows_dir):
    """A folder with a systems file, training data that gives one item away, and a T5 config."""
    import polars

    folder = tmp_path_factory.mktemp("board")
    (folder / "corpus").mkdir()
    texts = ["Dün haber sport 0 vardı.", "Başka bir metin."]
    polars.DataFrame({"text": texts}).write_parquet(folder / "corpus" / "train.parquet")
    (folder / "t5").mkdir()
    (folder / "t5" / "config.json").write_text('{"model_type": "t5", "is_encoder_decoder": true}')
    text = SYSTEMS.format(model=tiny_model_dir, training=folder / "corpus", t5=folder / "t5")
    (folder / "systems.yaml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def options(place, rows_dir):
    """`options(out, only=[...])`: the options of a leaderboard on those systems and rows."""
    from diffutron.evaluation.leaderboard.leaderboard import Options

    def make(out, **changes):
        given = {"systems": place / "systems.yaml", "data": str(rows_dir), **changes}
        return Options(out=out, **given)

    return make


@pytest.fixture(scope="session")
def lm_eval_tasks():
    """`lm_eval_tasks(sets, casing=...)`: lm-eval's own task objects for these rows, by task."""
    import logging

    from lm_eval.tasks import TaskManager

    from diffutron.evaluation.cetvel import prompts
    from diffutron.evaluation.cetvel.task_files import TWO_WAY_CHOICES

    logging.getLogger("lm_eval").setLevel(logging.ERROR)

    def build(sets, *, casing="turkish"):
        manager = TaskManager(
            include_path=str(Path(prompts.__file__).parent),
            include_defaults=False,
            metadata={"sets": {one.task: one.rows for one in sets}},
        )
        tasks: dict[str, Any] = dict(manager.load([one.task for one in sets])["tasks"])
        for one in sets:
            task = tasks[one.task]
            task.set_config("metadata", {"version": task.VERSION})  # lm-eval copies it at each run
            if one.stand_in == "mnli_tr":
                task.set_config("doc_to_choice", TWO_WAY_CHOICES)
        if casing == "cetvel" and "xcopa_tr" in tasks:
            tasks["xcopa_tr"].set_config("doc_to_choice", prompts.xcopa_choices_cetvel)
        return tasks

    return build


@pytest.fixture(scope="module")
def run(demo_values, model_dirs, corpus_dir, instructions_dir, tmp_path_factory):
    """Runs the stage with changed parameters or inputs into a folder of its own, where it keeps
    its answers too unless `kept` names another one."""
    import copy

    from diffutron.config.params import parse_params
    from diffutron.evaluation.evaluate import evaluate

    def start(changes: dict | None = None, *, kept: Path | None = None, **inputs: Path):
        values = copy.deepcopy(demo_values)
        for key, value in {**SMALL, **(changes or {})}.items():
            *path, last = key.split(".")
            section = values
            for part in path:
                section = section[part]
            section[last] = value
        folder = tmp_path_factory.mktemp("run")
        given = {
            "corpus": corpus_dir,
            "instructions": instructions_dir,
            "out": folder / "evaluation",
            "metrics": folder / "evaluate.json",
            **inputs,
        }
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DIFFUTRON_CHECKPOINTS", str(kept or folder / "checkpoints"))
            folders = {name: given.pop(name, folder) for name, folder in model_dirs.items()}
            evaluate(parse_params(values, origin="test"), folders, **given)
        return json.loads(given["metrics"].read_text()), given["out"]

    return start
