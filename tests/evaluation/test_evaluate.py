"""The stage as a whole, on four tiny models: keys, files, repeatability, and bad input."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from diffutron.config.section import TASKS
from diffutron.data.evaluation_sets.evaluation_sets import load_rows
from diffutron.data.sources.sources import local_digest
from diffutron.data.task_folder import read_tasks, tasks_digest
from diffutron.evaluation.leaderboard.compare import read_run
from diffutron.evaluation.scorers.masked_diffusion import MaskedDiffusion
from diffutron.evaluation.scoring import sanity_checks
from diffutron.runtime.errors import UserError
from tests.support.own_tasks import write_own_tasks

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(run):
    return run()


@pytest.mark.parametrize("model", ["base", "merged", "phase1", "phase2"])
def test_every_number_of_the_summary_is_there(finished, model):
    values = finished[0]["models"][model]
    assert values["bits_per_byte"] > 0
    assert values["nelbo"] > 0
    assert list(values["perplexity"]) == ["0-.1", ".1-.3", ".3-.6", ".6-1"]
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
    for part in (values["instructions"], values["instructions"]["phase2"]):
        assert 0 <= part["bag_of_words"] <= 1
        assert 0 <= part["majority_per_source"] <= 1
        assert 0 < part["constant"] <= 1
    assert values["instructions"]["phase1"]["n"] == values["instructions"]["phase2"]["n"] == 3
    assert set(values["generation"]) >= {"valid_words", "distinct_2", "repetition", "empty"}


def test_what_stands_beside_the_models(finished):
    values = finished[0]
    for place in (values, values["perplexity_text"]):
        assert all(place[name] > 0 for name in ("unigram", "bigram", "five_gram"))
    assert values["unigram"] != values["perplexity_text"]["unigram"]
    assert set(values["baseline_tokens"]) == {"unigram", "bigram", "five_gram"}
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


def test_the_calibration_is_written_for_the_version(finished):
    values, out = finished
    written = json.loads((out / "calibration.json").read_text())
    assert written["kinds"] == values["models"]["phase2"]["calibration"]
    assert "calibration" not in values["models"]["phase1"]


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
        assert (
            sum(detail["tasks"]["sts_tr"]["predicted"].values()) == numbers["tasks"]["sts_tr"]["n"]
        )
        answers = (out / f"instructions_{model}.jsonl").read_text().splitlines()
        assert set(json.loads(answers[0])) >= {"prompt", "expected", "generated", "correct"}


def test_sanity_checks_stand_beside_every_task(finished):
    for model, numbers in finished[0]["models"].items():
        for name, task in numbers["tasks"].items():
            checks, details = task["sanity_checks"], task["sanity_check_details"]
            assert list(checks) == list(sanity_checks.NAMES)
            assert checks["oracle"] is checks["target"] is True
            if model != "phase2":
                assert {checks[one] for one in ("batch", "context", "random_weights")} == {None}
                assert "phase2" in details["batch"]
                continue
            assert checks["batch"] is checks["context"] is True
            assert checks["shuffled"] is (None if name == "belebele_tr" else True)
            assert checks["random_weights"] is not False
            assert all(name in details for name, passed in checks.items() if passed is None)


def test_a_failed_check_is_said_and_stands_in_the_metrics(run, monkeypatch, capsys):
    """A scorer that drops the first token of each choice."""
    plain = MaskedDiffusion.score
    monkeypatch.setattr(
        MaskedDiffusion,
        "score",
        lambda self, pairs: plain(
            self, [replace(pair, continuation=pair.continuation[1:]) for pair in pairs]
        ),
    )
    values, _ = run({"evaluate.tasks": ["sts_tr"]})
    task = values["models"]["phase2"]["tasks"]["sts_tr"]
    assert task["sanity_checks"]["target"] is False
    assert "evaluate: phase2, sts_tr: target failed" in capsys.readouterr().out


def test_a_killed_stage_goes_on_from_its_answers(run, finished, monkeypatch, tmp_path):
    tasks = {"evaluate.tasks": ["ironytr", "xcopa_tr"]}
    plain, asked = MaskedDiffusion.score, []

    def killed(self, pairs):
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(len(pairs))
        return plain(self, pairs)

    monkeypatch.setattr(MaskedDiffusion, "score", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tasks, kept=tmp_path)
    kept = [line for path in tmp_path.glob("evaluate-*/*.jsonl")
            for line in path.read_bytes().splitlines() if line]  # fmt: skip
    assert sum(len(json.loads(line)["logprobs"]) for line in kept) == sum(asked)
    monkeypatch.setattr(MaskedDiffusion, "score", plain)
    values, out = run(tasks, kept=tmp_path)
    for name, model in values["models"].items():
        before = finished[0]["models"][name]["tasks"]
        for task, numbers in model["tasks"].items():  # other batches round differently
            assert numbers | {"sanity_check_details": 0} == before[task] | {
                "sanity_check_details": 0
            }

    def refuse(self, pairs):
        raise AssertionError("everything is answered")

    monkeypatch.setattr(MaskedDiffusion, "score", refuse)
    again, other = run(tasks, kept=tmp_path)
    assert {name: model["tasks"] for name, model in again["models"].items()} == {
        name: model["tasks"] for name, model in values["models"].items()
    }
    assert (out / "items_base_ironytr.jsonl").read_text() == (
        other / "items_base_ironytr.jsonl"
    ).read_text()


def test_a_set_that_the_corpus_was_not_cleaned_of_is_searched_for(run, corpus_dir, tmp_path):
    import polars

    rows = load_rows("ironytr", source="sample").rows
    corpus = tmp_path / "corpus"
    shutil.copytree(corpus_dir, corpus)
    texts = [
        *polars.read_parquet(corpus / "train.parquet")["text"],
        rows[3]["text"] + " " + "a" * 9,
    ]
    polars.DataFrame({"text": texts}).write_parquet(corpus / "train.parquet")
    changes = {
        "evaluate.tasks": ["ironytr", "sts_tr"],
        "corpus.contamination.tasks": ["sts_tr"],
        "corpus.contamination.min_words": 3,
        "corpus.contamination.min_item_words": 3,
        "corpus.contamination.ngram": 2,
    }
    sets = run(changes, corpus=corpus)[0]["sets"]
    assert sets["ironytr"]["cleaned_of"] is False
    assert sets["ironytr"]["contaminated"] >= 1
    assert sets["ironytr"]["contaminated_share"] == (
        sets["ironytr"]["contaminated"] / sets["ironytr"]["rows"]
    )
    assert sets["sts_tr"]["cleaned_of"] is True
    for one in sets.values():  # also of the sets that the corpus was cleaned of
        assert 0 < one["findable_as_instruction"] <= one["rows"]
        assert (one["contaminated"] or 0) <= one["findable"] <= one["rows"]
    assert sets["sts_tr"]["contaminated"] is None
    assert sets["sts_tr"]["contaminated_reason"] == "the corpus was cleaned of it"


def test_traces_show_each_answer_from_its_first_token(finished):
    traces = json.loads((finished[1] / "traces.json").read_text())
    assert len(traces) == 2
    for trace in traces:
        assert set(trace) >= {"prompt", "answer", "expected", "steps"}
        positions = [token["position"] for step in trace["steps"] for token in step["tokens"]]
        assert sorted(positions) == list(range(len(positions)))
        assert all(0 <= t["confidence"] <= 1 for step in trace["steps"] for t in step["tokens"])


def test_the_stage_repeats_itself_whatever_else_it_scores(run, finished):
    """Two tasks alone give the numbers that they had among seven."""
    chosen = ["ironytr", "xcopa_tr"]
    again = run({"evaluate.tasks": chosen})[0]
    for name, model in again["models"].items():
        before = finished[0]["models"][name]
        before = {**before, "tasks": {task: before["tasks"][task] for task in chosen}}
        assert {**model, "seconds": 0} == {**before, "seconds": 0}


def test_real_text_is_checked_by_the_word_list(run):
    values, _ = run({"corpus.source": "local", "evaluate.tasks": ["ironytr"]})
    assert list(values["models"]["base"]["tasks"]) == ["ironytr"]
    assert values["models"]["base"]["generation"]["words"] >= 0


@pytest.fixture
def local_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    row = {"premise": "Adam koşuyor.", "hypothesis": "Adam durdu."}
    lines = [json.dumps({**row, "label": number % 2}) for number in range(6)]
    (tmp_path / "cetvel").mkdir()
    (tmp_path / "writings").mkdir()
    (tmp_path / "cetvel" / "standin_nli_2way_from_sts_tr.jsonl").write_text("\n".join(lines))
    texts = [json.dumps({"text": text, "title": ""}) for text in ("Bir gün.", "Bir gece.")]
    (tmp_path / "writings" / "a.jsonl").write_text("\n".join(texts))
    monkeypatch.setenv("DIFFUTRON_DATA", str(tmp_path))
    return tmp_path


LOCAL = {
    "evaluate.source": "local",
    "evaluate.perplexity_text.source": "local",
    "evaluate.max_items": None,
}


def test_local_data_need_the_digest_of_their_files(run, local_folder):
    with pytest.raises(UserError, match=r"evaluate\.digest is not set: run `diffutron params`"):
        run(LOCAL)
    with pytest.raises(UserError, match=r"evaluate\.digest does not fit"):
        run({**LOCAL, "evaluate.digest": "0" * 64})


def test_missing_sets_are_said_and_stand_ins_keep_their_name(run, local_folder, capsys):
    values, out = run({**LOCAL, "evaluate.digest": local_digest("evaluate")})
    name = "standin_nli_2way_from_sts_tr"
    assert list(values["models"]["phase2"]["tasks"]) == [name]
    assert values["models"]["phase2"]["tasks"][name]["stand_in"] == "mnli_tr"
    assert values["models"]["base"]["tasks"][name]["n"] == 6
    assert values["missing_sets"] == [task for task in TASKS if task != "mnli_tr"]
    assert "sts_tr is not in the local folder and is left out" in capsys.readouterr().out
    assert (out / f"items_base_{name}.jsonl").exists()
    assert not list(out.glob("items_*_mnli_tr*"))


def own_tasks(folder: Path) -> dict:
    return {
        "evaluate.tasks_dir": str(folder),
        "evaluate.tasks_digest": tasks_digest(read_tasks(folder)),
    }


def test_own_tasks_stand_beside_the_seven(run, finished, tmp_path):
    folder = write_own_tasks(tmp_path / "tasks")
    values, out = run({**own_tasks(folder), "evaluate.tasks": ["ironytr"]})
    for name, model in values["models"].items():
        assert list(model["tasks"]) == ["ironytr", "ciftler", "soru_bankasi"]
        known = finished[0]["models"][name]["tasks"]["ironytr"]
        assert model["tasks"]["ironytr"] == known, "another task changes no number"
        for task in ("ciftler", "soru_bankasi"):
            found = model["tasks"][task]
            assert found.keys() == known.keys()
            assert found["n"] == (4 if name == "phase2" else 3)
            assert found["stand_in"] is None
            assert found["sanity_checks"]["oracle"] is found["sanity_checks"]["target"] is True
            lines = (out / f"items_{name}_{task}.jsonl").read_text("utf-8").splitlines()
            assert sum(json.loads(line)["correct"] for line in lines) == found["correct"]
        detail = json.loads((out / f"tasks_{name}.json").read_text("utf-8"))["tasks"]
        parts = detail["soru_bankasi"]["parts"].values()
        assert sum(part["n"] for part in parts) == detail["soru_bankasi"]["n"]
    for task in ("ciftler", "soru_bankasi"):
        found = values["sets"][task]
        assert (found["own"], found["cleaned_of"], found["rows"]) == (True, False, 30)
        assert found["contaminated"] == 0
        assert found["findable"] >= 0
    assert values["sets"]["ironytr"]["own"] is False
    results = read_run(f"{out}:phase2")
    assert set(results.correct) == {"ironytr", "ciftler", "soru_bankasi"}


def test_own_tasks_may_stand_alone(run, tmp_path):
    values, _ = run({**own_tasks(write_own_tasks(tmp_path / "tasks")), "evaluate.tasks": []})
    assert list(values["models"]["base"]["tasks"]) == ["ciftler", "soru_bankasi"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("doc_to_text", "doc_to_txt", r"soru\.yaml: unknown key `doc_to_txt`"),
        ("{{soru}}", "{{sorun}}", r"soru\.yaml: s\.jsonl, row 1: `doc_to_text`: 'sorun' is undef"),
        ("normalization", "rows: 31, normalization", r"soru\.yaml: `metadata\.rows` = 31"),
    ],
)
def test_a_faulty_task_file_stops_the_stage_before_a_model_is_loaded(
    run, tmp_path, monkeypatch, old, new, said
):
    def refuse(*_, **__):
        raise AssertionError("a model is loaded")

    monkeypatch.setattr("diffutron.evaluation.evaluate.load_model", refuse)
    file = write_own_tasks(tmp_path / "tasks") / "soru.yaml"
    file.write_text(file.read_text("utf-8").replace(old, new), "utf-8")
    changes = {"evaluate.tasks_dir": str(file.parent)}
    if old != "doc_to_text":
        changes = own_tasks(file.parent)
    with pytest.raises(UserError, match=said) as caught:
        run(changes)
    assert "\n" not in str(caught.value)


def test_frozen_embeddings_are_probed_where_there_is_a_training_split(
    run, finished, rows_dir, tmp_path, monkeypatch
):
    reasons = {one["reason"] for one in finished[0]["probe"].values()}
    assert reasons == {"no training split: the built-in sample has none"}
    (tmp_path / "cetvel").symlink_to(rows_dir)
    monkeypatch.setenv("DIFFUTRON_DATA", str(tmp_path))
    changes = {"evaluate.source": "local", "evaluate.digest": local_digest("evaluate")}
    found = run({**changes, "evaluate.tasks": ["news_cat"]})[0]["probe"]
    assert found["sts_tr"] == {"models": None, "reason": "the set is not evaluated"}
    news = found["news_cat"]
    assert (news["n"], news["training_rows"], news["reason"]) == (10, 25, None)
    assert list(news["models"]) == ["base", "merged", "phase1", "phase2"]
    for scores in news["models"].values():
        assert 0 <= scores["low"] <= scores["acc"] <= scores["high"] <= 1
        assert len(scores["acc_by_seed"]) == 5


def test_models_with_other_tokenizers_are_refused(run, model_dirs, tmp_path):
    other = tmp_path / "phase1"
    shutil.copytree(model_dirs["phase1"], other)
    with (other / "tokenizer.json").open("a") as stream:
        stream.write("\n")
    with pytest.raises(UserError, match="different tokenizers; run the stage `instruct_phase1`"):
        run(phase1=other)
    (other / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"tokenizer\.json does not exist"):
        run(phase1=other)
    with pytest.raises(UserError, match="run the stage `merge` first"):
        run(merged=tmp_path / "nowhere")


def test_a_model_that_diverged_is_named_and_earlier_output_stays(run, model_dirs, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    other, out = tmp_path / "phase2", tmp_path / "evaluation"
    shutil.copytree(model_dirs["phase2"], other)
    weights = load_file(other / "model.safetensors")
    weights["head.dense.weight"] = torch.full_like(weights["head.dense.weight"], torch.nan)
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    out.mkdir()
    (out / "traces.json").write_text("[]")
    with pytest.raises(UserError, match=r"phase2 holds weights that are not finite"):
        run({"evaluate.tasks": ["ironytr"]}, phase2=other, out=out)
    assert [path.name for path in out.iterdir()] == ["traces.json"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_steps_that_do_not_cover_the_blocks_are_refused(run):
    changes = {"evaluate.generation.num_steps": 1}
    with pytest.raises(UserError, match=r"evaluate\.generation\.num_steps = 1 is below the 2"):
        run(changes)
