"""The stage as a whole, on four tiny models: keys, files, repeatability, and bad input."""

import json
from pathlib import Path

import pytest

from diffutron.errors import UserError
from diffutron.evaluation.evaluate import evaluate
from diffutron.params import TASKS

SMALL = {
    "evaluation.items": 3,
    "evaluation.items_phase2": 4,
    "evaluation.max_rows": 3,
    "evaluation.nelbo_samples": 4,
    "evaluation.documents": 5,
    "evaluation.perplexity_text.documents": 2,
    "evaluation.instruction_rows": 6,
    "evaluation.generation.max_new_tokens": 6,
    "evaluation.generation.num_steps": 3,
    "evaluation.generation.block_length": 3,
    "evaluation.traces": 2,
}


@pytest.fixture(scope="module")
def run(demo_values, model_dirs, corpus_dir, instructions_dir, tmp_path_factory):
    """Runs the stage with changed parameters or inputs into a folder of its own."""
    import copy

    from diffutron.params import parse_params

    def start(changes: dict | None = None, **inputs: Path):
        values = copy.deepcopy(demo_values)
        for key, value in {**SMALL, **(changes or {})}.items():
            *path, last = key.split(".")
            section = values
            for part in path:
                section = section[part]
            section[last] = value
        folder = tmp_path_factory.mktemp("run")
        given = {
            "backbone": model_dirs["base"],
            "merged": model_dirs["merged"],
            "phase1": model_dirs["phase1"],
            "phase2": model_dirs["phase2"],
            "corpus": corpus_dir,
            "instructions": instructions_dir,
            "out": folder / "evaluation",
            "metrics": folder / "evaluate.json",
            **inputs,
        }
        evaluate(parse_params(values, origin="test"), **given)
        return json.loads(given["metrics"].read_text()), given["out"]

    return start


@pytest.fixture(scope="module")
def finished(run):
    return run()


@pytest.mark.parametrize("model", ["base", "merged", "phase1", "phase2"])
def test_every_number_of_the_summary_is_there(finished, model):
    values = finished[0]["models"][model]
    assert values["bits_per_byte"] > 0
    assert values["nelbo"] > 0
    assert list(values["perplexity"]) == ["0-0.1", "0.1-0.3", "0.3-0.6", "0.6-1"]
    assert all(value > 1 for value in values["perplexity"].values())
    assert values["perplexity_text"]["bits_per_byte"] > 0
    assert list(values["tasks"]) == list(TASKS)
    for task in values["tasks"].values():
        assert task["n"] == (4 if model == "phase2" else 3)
        assert task["acc"] == task["correct"] / task["n"]
        assert 0 <= task["low"] <= task["acc"] <= task["high"] <= 1
        assert 0 <= task["p_value"] <= 1
        assert task["constant"] >= 0.25
        assert task["stand_in"] is None
    assert values["instructions"]["n"] == 6
    assert values["instructions"]["phase1"]["n"] == values["instructions"]["phase2"]["n"] == 3
    assert set(values["generation"]) >= {"valid_words", "distinct_2", "repetition", "empty"}


def test_what_stands_beside_the_models(finished):
    values = finished[0]
    assert values["unigram_bits_per_byte"] > 0
    assert set(values["merged_below_base"]) >= {"difference", "p_value", "low", "high"}
    assert values["perplexity_text"]["documents"] == 2
    assert values["missing_sets"] == []
    assert values["sets"]["sts_tr"]["origin"] == "built-in sample"
    assert values["device"] in ("cpu", "cuda")
    assert values["seconds"] > 0
    difference = (
        values["models"]["merged"]["bits_per_byte"] - values["models"]["base"]["bits_per_byte"]
    )
    assert values["merged_below_base"]["difference"] == pytest.approx(difference)


def test_single_items_are_kept_for_the_audit(finished):
    values, out = finished
    for model, numbers in values["models"].items():
        for task, found in numbers["tasks"].items():
            lines = (out / f"items_{model}_{task}.jsonl").read_text().splitlines()
            items = [json.loads(line) for line in lines]
            assert len(items) == found["n"]
            assert sum(item["correct"] for item in items) == found["correct"]
            for item in items:
                best = max(item["logprobs"])
                assert item["predicted"] == item["logprobs"].index(best)
                assert item["correct"] == (item["predicted"] == item["gold"])
        detail = json.loads((out / f"tasks_{model}.json").read_text())
        assert detail["requests"]["requests"] > 0
        assert (
            sum(detail["tasks"]["sts_tr"]["predicted"].values()) == numbers["tasks"]["sts_tr"]["n"]
        )
        answers = (out / f"instructions_{model}.jsonl").read_text().splitlines()
        assert set(json.loads(answers[0])) >= {"prompt", "expected", "generated", "correct"}


def test_traces_show_each_answer_from_its_first_token(finished):
    traces = json.loads((finished[1] / "traces.json").read_text())
    assert len(traces) == 2
    for trace in traces:
        assert set(trace) == {"prompt", "answer", "expected", "steps"}
        positions = [token["position"] for step in trace["steps"] for token in step["tokens"]]
        assert sorted(positions) == list(range(len(positions)))
        assert all(0 < t["confidence"] <= 1 for step in trace["steps"] for t in step["tokens"])


def test_the_stage_repeats_itself(run, finished):
    again = run()[0]
    for one in (again, finished[0]):
        one.pop("seconds")
        for model in one["models"].values():
            model.pop("seconds", None)
    assert again == finished[0]


def test_real_text_is_checked_by_the_word_list(run):
    values, _ = run({"corpus.source": "local", "evaluation.tasks": ["ironytr"]})
    assert list(values["models"]["base"]["tasks"]) == ["ironytr"]
    assert values["models"]["base"]["generation"]["words"] >= 0


def test_local_data_need_their_digest_and_name_stand_ins(run, tmp_path, monkeypatch, capsys):

    rows = [
        {"premise": "Adam koşuyor.", "hypothesis": "Adam durdu."},
        {"premise": "Bir.", "hypothesis": "İki."},
    ]
    (tmp_path / "cetvel").mkdir()
    (tmp_path / "writings").mkdir()
    lines = [json.dumps({**row, "label": n % 2}) for n, row in enumerate(rows * 3)]
    (tmp_path / "cetvel" / "standin_nli_2way_from_sts_tr.jsonl").write_text("\n".join(lines))
    (tmp_path / "writings" / "a.jsonl").write_text(json.dumps({"text": "Bir gün.", "title": ""}))
    monkeypatch.setenv("DIFFUTRON_DATA", str(tmp_path))
    changes = {
        "evaluation.source": "local",
        "evaluation.perplexity_text.source": "local",
        "evaluation.perplexity_text.documents": 1,
        "evaluation.items": None,
    }
    with pytest.raises(UserError, match=r"evaluation\.digest is not set"):
        run(changes)
