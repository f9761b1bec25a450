"""A small folder of raw text with one planted document for every reason, and the stage on it."""

import json
import random

import pyarrow.parquet as pq
import pytest

from diffutron.data.corpus.corpus import corpus
from diffutron.data.sources.sources import local_digest
from diffutron.text.turkish import turkish_upper

NAMES = ["Ayşe", "Mehmet", "Zeynep", "Hüseyin", "Elif", "Çağrı", "Işıl", "Ömer", "Şule"]
PLACES = ["bahçede", "okulda", "çarşıda", "limanda", "tarlada", "köprüde", "sarayda", "ormanda"]
THINGS = ["kitabı", "elmayı", "çiçeği", "anahtarı", "mektubu", "gömleği", "treni", "yıldızı"]
DEEDS = ["aradı", "buldu", "sevdi", "çizdi", "unuttu", "taşıdı", "sakladı", "gördü", "sordu"]
BOILERPLATE = "Bu haberin bütün yayın hakları ajansımıza aittir"
IRONY = (
    "Yağmurda ıslanıp eve geç kaldığım bu harika günde bir de anahtarımı kaybettim, ne güzel "
    "bir akşam oldu benim için."
)


def prose(numbers: random.Random, sentences: int = 4) -> str:
    return " ".join(
        f"{numbers.choice(NAMES)} {numbers.choice(PLACES)} {numbers.choice(THINGS)} bir "
        f"{numbers.randint(100, 999)} kez {numbers.choice(DEEDS)} ve döndü."
        for _ in range(sentences)
    )


def plants() -> dict[str, list[dict]]:
    numbers = random.Random(1)
    original = prose(numbers, 9)
    copy = " ".join(original.split()[:-6])
    bullets = "\n".join(f"- {prose(numbers, 1)}" for _ in range(4))
    return {
        "kept": [{"text": original}, {"text": f"Bana ali@ornek.com yazdı. {original[:80]}"}],
        "language": [{"text": "The committee will publish its findings before the end of May."}],
        "too_short": [{"text": "Geldi."}, {"text": " \u200b "}],
        "too_long": [{"text": prose(numbers, 120)}],
        "quality": [{"text": bullets}],
        "repetition": [{"text": "Evet dedi ve yine evet dedi sonra. " * 12}],
        "boilerplate": [{"text": f"{BOILERPLATE}\n{BOILERPLATE}\nNe?"}],
        "duplicate": [{"text": turkish_upper(original)}, {"text": copy}],
        "contaminated": [{"text": f"{prose(numbers, 2)} {IRONY}"}],
    }


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """60 clean documents of two sources and the planted ones; evaluation sets of one item."""
    monkeypatch.setenv("DIFFUTRON_DATA", str(tmp_path))
    numbers = random.Random(2)
    rows = [
        {
            "text": f"{prose(numbers)}\n{BOILERPLATE}" if place % 3 else prose(numbers),
            "source": "haber" if place % 2 else "dergi",
            "group": "basın",
        }
        for place in range(60)
    ]
    for name, found in plants().items():
        rows += [{"source": f"{name}.", **row} for row in found]
    (tmp_path / "corpus").mkdir()
    lines = [json.dumps(row, ensure_ascii=False).encode() for row in rows]
    lines.insert(30, b'{"text": "\xff"}')
    (tmp_path / "corpus" / "a.jsonl").write_bytes(b"\n".join(lines))
    (tmp_path / "cetvel").mkdir()
    irony = [{"text": IRONY, "label": 1}, {"text": "Ne güzel bir gün, çok sevindim.", "label": 0}]
    (tmp_path / "cetvel" / "ironytr.jsonl").write_text(
        "\n".join(json.dumps(row, ensure_ascii=False) for row in irony), encoding="utf-8"
    )
    return tmp_path


@pytest.fixture
def run_corpus(planted, make_params, tiny_tokenizer_dir):
    def stage(name="out", workers=1, **changes):
        params = make_params(
            {
                "corpus.source": "local",
                "corpus.digest": local_digest("corpus"),
                "corpus.max_bad_share": 0.05,
                "corpus.language.kept": ["tr"],
                "corpus.near_duplicate.threshold": 0.6,
                "corpus.boilerplate_documents": 20,
                "corpus.min_tokens": 8,
                "corpus.max_tokens": 1000,
                "corpus.heldout_documents": 10,
                "evaluate.source": "local",
                "corpus.contamination.tasks": ["ironytr"],
                **{f"corpus.{key}": value for key, value in changes.items()},
            }
        )
        out = planted / name
        metrics = planted / f"{name}.json"
        corpus(params, tokenizer=tiny_tokenizer_dir, out=out, metrics=metrics, workers=workers)
        return out

    return stage


def table(out, split):
    return pq.read_table(out / f"{split}.parquet").to_pylist()
