"""The report stage on the files of a run: a whole page, its text twin, and honest gaps."""

import json
import re
from html.parser import HTMLParser

import pytest

from diffutron.pages.format import NOT_MEASURED
from diffutron.pages.render import render
from diffutron.reporting.denoising.players import trace_page
from diffutron.reporting.report import report
from diffutron.runtime.errors import UserError

TASK_KEYS = ("n", "correct", "acc", "acc_norm", "low", "high", "chance", "constant", "p_value")
VOID = {"meta", "input", "line", "polyline", "circle", "rect", "path", "br"}


@pytest.fixture
def make_report(make_params, run_files, tmp_path, monkeypatch):
    """`make_report()` -> (page, text, summary) of the run in `run_files`."""
    monkeypatch.chdir(tmp_path)

    def make(changes: dict | None = None):
        out, full = tmp_path / "report", tmp_path / "metrics/full.json"
        files = {"out": out, "full": full, "summary": full.with_name("summary.json")}
        report(make_params(changes), **run_files, **files)
        page = (out / "report.html").read_text(encoding="utf-8")
        text = (out / "report.md").read_text(encoding="utf-8")
        return page, text, json.loads(full.read_text(encoding="utf-8"))

    return make


class Balance(HTMLParser):
    """Fails on a closing tag that closes nothing; collects what refers to another address."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("src", "href") and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] not in (["style"], ["script"]):
            self.text.append(data)


def parsed(page: str) -> Balance:
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    return parser


def test_the_page_is_complete_and_asks_nobody(make_report):
    page, _, _ = make_report()
    assert all(link.startswith("#") for link in parsed(page).links)
    anchors = {link.removeprefix("#") for link in parsed(page).links}
    assert anchors <= set(re.findall(r'id="([^"]+)"', page))
    assert "http" not in re.sub(r"\s+", "", page.split("<body>")[0])
    assert "url(" not in page
    assert "@import" not in page


def test_data_cannot_break_out_of_the_page(make_report, run_files):
    evil = "</script><script>alert(1)</script>"
    path = run_files["evaluation"] / "instructions_phase2.jsonl"
    row = {"prompt": evil, "expected": "x", "generated": evil, "correct": False}
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    traces = json.loads((run_files["evaluation"] / "traces.json").read_text(encoding="utf-8"))
    traces[0]["prompt"] = traces[0]["steps"][0]["tokens"][0]["token"] = evil + '"'
    (run_files["evaluation"] / "traces.json").write_text(json.dumps(traces), encoding="utf-8")
    page, _, _ = make_report()
    assert page.count("<script>") == 1
    assert page.count("</script>") == 1


def test_both_forms_show_the_same_numbers(make_report):
    page, text, _ = make_report()
    shown = " ".join(parsed(page).text)
    for value in ("6 of 7", "75.0", "0.536", "0.589", "81.20", "3.42", "19.0 - 31.0", "8.12 %"):
        assert value in shown
        assert value in text


def test_baselines_stand_beside_the_bits_per_byte_of_the_models(make_report):
    page, text, _ = make_report()
    shown = " ".join(parsed(page).text)
    for name, heldout, essays in (
        ("unigram model", "1.710", "2.530"),
        ("bigram", "0.834", "1.917"),
        ("5-gram", "0.673", "1.762"),
    ):
        assert heldout in shown
        assert f"| {name} | {heldout} |" in text
        assert f"| {name} |  | {essays} |" in text
    assert "backbone 0.589, bigram 0.834, 5-gram 0.673" in text
    assert "count the 218 418 tokens of the training split and read the same documents" in text


def test_baselines_stand_beside_the_exact_answers_of_the_models(make_report):
    page, text, _ = make_report()
    shown = " ".join(parsed(page).text)
    assert "225 of 300 held out, best constant 2.3 %, bag of words 26.2 %" in text
    (row,) = [line for line in text.splitlines() if "p < 0.001, 225 of 300" in line]
    assert [cell.strip() for cell in row.split("|")][3:6] == ["2.3", "13.1", "26.2"]
    assert "majority per source, %" in shown


def test_a_corpus_that_was_counted_in_part_is_said(make_report, run_files):
    path = run_files["metrics_dir"] / "evaluate.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    values["baseline_tokens"] |= {"bigram": 100_000, "five_gram": 100_000}
    path.write_text(json.dumps(values), encoding="utf-8")
    assert "count 100 000 of the 218 418 tokens of the training split" in make_report()[1]


def test_measured_stands_beside_published(make_report):
    _, text, _ = make_report()
    (row,) = [line for line in text.splitlines() if line.startswith("| MNLI_TR | 33.3")][:1]
    cells = [value.strip() for value in row.strip("|").split("|")]
    assert cells[6].startswith("89.5 (")
    assert cells[7:] == ["33.29", "32.81"]


def test_a_task_of_any_name_stands_in_figure_tables_and_numbers(make_report, run_files):
    path = run_files["metrics_dir"] / "evaluate.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    for model in values["models"].values():
        model["tasks"]["soru_bankasi"] = model["tasks"]["sts_tr"]
    values["sets"]["soru_bankasi"] = {"own": True, "origin": "s.jsonl", "rows": 30, "dropped": {}}
    path.write_text(json.dumps(values), encoding="utf-8")
    page, text, full = make_report()
    assert "7 of 8" in text
    rows = [line for line in text.splitlines() if line.startswith("| soru_bankasi |")]
    accuracy, normalized, data = [[c.strip() for c in row.strip("|").split("|")] for row in rows]
    assert accuracy[6].startswith("30.0 (")
    assert accuracy[7:] == ["", ""], "nothing is published of it"
    assert normalized[6] == "29.0"
    assert data[1:5] == ["own task", "30", "0", "not measured"]
    figure = page[page.index("Accuracy of four models on each task") :]
    assert "soru_bankasi" in figure[: figure.index("</svg>")]
    assert list(full["models"]["phase2"]["tasks"])[-1] == "soru_bankasi"


def test_the_probe_is_a_row_for_each_checkpoint(make_report, run_files):
    assert "Probe of frozen embeddings" not in make_report()[1], "this run has none"
    against = {"difference": 0.0, "low": 0.0, "high": 0.0}
    scores = {"acc": 0.5, "low": 0.45, "high": 0.55, "against_base": against}
    lost = scores | {"acc": 0.4, "against_base": {"difference": -0.1, "low": -0.15, "high": -0.02}}
    models = dict.fromkeys(("base", "merged", "phase1"), scores) | {"phase2": lost}
    news = {"n": 250, "chance": 0.2, "bag_of_words": 0.94, "models": models, "reason": None}
    path = run_files["metrics_dir"] / "evaluate.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    values["probe"] = {"news_cat": news, "sts_tr": {"models": None, "reason": "it is not here"}}
    path.write_text(json.dumps(values), encoding="utf-8")
    page, text, _ = make_report()
    table = text[text.index("### Probe of frozen embeddings") :].splitlines()[:16]
    assert "| model | News_Cat, n = 250 |" in table
    assert "| bag of words | 94.0 |" in table
    assert any(line.startswith("| Backbone | 50.0 (45.0 - 55.0) |") for line in table)
    (final,) = [line for line in table if line.startswith("| Instruction phase 2 |")]
    assert "40.0" in final
    assert "-10.0 (-15.0 to -2.0) from the backbone" in final
    assert any("STS_TR is not probed: it is not here." in line for line in table)
    assert "Probe of frozen embeddings" in " ".join(parsed(page).text)


def test_denoising_is_there_with_and_without_script(make_report):
    page, text, _ = make_report()
    assert page.count('<span class="slot') == 5
    assert 'class="slot marker"' in page
    assert "step   1  ▒▒▒▒▒▒▒▒▒▒▒ ▒▒▒▒▒▒▒▒ Ankara" in text
    assert "Türkiye'nin başkenti Ankara'da" in text
    assert "Expected: Ankara'dır." in text


def test_the_report_plays_a_trace_as_its_own_page_does(make_report, run_files):
    report, _, _ = make_report()
    traces = json.loads((run_files["evaluation"] / "traces.json").read_text(encoding="utf-8"))
    alone = trace_page(traces)
    for part in ("player.css.jinja", "player.js.jinja"):
        text = render(part, {}, package="diffutron.reporting")
        assert text in report
        assert text in alone
    boxes = [page[page.index('<div class="card trace"') :] for page in (report, alone)]
    boxes = [box[: box.index("</details>")].replace(" open>", ">") for box in boxes]
    assert boxes[0] == boxes[1]


def test_the_headline_figures_are_few_and_plain_numbers(make_report, tmp_path):
    """What `dvc metrics diff` shows: no times, which differ in every run."""
    _, _, full = make_report()
    figures = json.loads((tmp_path / "metrics/summary.json").read_text(encoding="utf-8"))
    assert len(figures) <= 15
    assert all(isinstance(value, int | float) for value in figures.values()), figures
    assert not [name for name in figures if "second" in name or "time" in name]
    phase2 = full["models"]["phase2"]
    tasks = [task["acc"] for task in phase2["tasks"].values()]
    assert figures["mean_accuracy"] == pytest.approx(sum(tasks) / len(tasks))
    assert figures["instructions_exact"] == phase2["instructions"]["acc"]
    assert figures["bits_per_byte_merged"] == full["models"]["merged"]["bits_per_byte"]


def test_summary_has_exactly_the_agreed_keys(make_report):
    _, _, summary = make_report()
    assert set(summary) == {"profile", "models", "seconds", "device"}
    assert set(summary["models"]) == {"base", "merged", "phase1", "phase2"}
    for model in summary["models"].values():
        keys = {"bits_per_byte", "nelbo", "perplexity", "tasks", "instructions", "generation"}
        assert set(model) == keys
        assert list(model["perplexity"]) == ["0-.1", ".1-.3", ".3-.6", ".6-1"]
        assert set(model["instructions"]) == {"n", "correct", "acc"}
        assert set(model["generation"]) == {"valid_words", "distinct_2", "repetition", "empty"}
        assert len(model["tasks"]) == 7
        for task in model["tasks"].values():
            assert list(task) == list(TASK_KEYS)
    assert summary["seconds"]["backbone"] == 105.0
    assert list(summary["seconds"])[0] == "tokenizer"
    assert summary["device"] == "cpu"


def test_missing_numbers_are_said_to_be_missing(make_report, run_files):
    for stage in ("backbone", "pretrain", "instruct_phase1", "instruct_phase2"):
        (run_files["metrics_dir"] / f"{stage}.csv").unlink()
        (run_files["metrics_dir"] / f"{stage}.json").unlink()
    path = run_files["metrics_dir"] / "evaluate.json"
    path.write_text(json.dumps({"models": {"base": {}}, "seconds": 1.0}), encoding="utf-8")
    (run_files["evaluation"] / "traces.json").unlink()
    (run_files["evaluation"] / "instructions_phase2.jsonl").unlink()
    (run_files["corpus"] / "card.json").unlink()
    (run_files["instructions"] / "card.json").unlink()
    page, text, summary = make_report()
    parsed(page)
    assert "The final model was not measured." in text
    for lost in ("kept no trace", "no loss curve was found", "no data card was found"):
        assert lost in text
        assert lost in page
    assert text.count(NOT_MEASURED) > 30
    assert summary["models"]["phase2"]["bits_per_byte"] is None
    assert summary["models"]["phase2"]["tasks"] == {}


def test_without_an_evaluation_the_stage_stops_and_earlier_reports_stay(make_report, run_files):
    page, _, _ = make_report()
    (run_files["metrics_dir"] / "evaluate.json").unlink()
    with pytest.raises(UserError, match=r"evaluate\.json does not exist; run `diffutron evaluate`"):
        make_report()
    kept = run_files["metrics_dir"].parent / "report/report.html"
    assert kept.read_text(encoding="utf-8") == page


def test_right_and_wrong_answers_are_shown_as_they_came(make_report):
    page, text, _ = make_report()
    assert 'class="answer right"' in page
    assert 'class="answer wrong"' in page
    assert "Gökyüzü &lt;ne&gt; renktir?" in page
    assert "wrong: Yüzer. (expected: Uçar.)" in text


def test_data_and_its_drop_reasons(make_report):
    _, text, _ = make_report()
    assert "| dropped: too short | 210 | 2.33 |" in text
    assert "No documents dropped as: language." in text
    assert "234 532 tokens kept, 1.59 tokens a word." in text
    assert "160 000 tokens kept, 40 000 of them in answers." in text
    assert "| XCOPA_TR | stand-in | 200 | 2 | 198 | built-in sample | 0123456789ab |" in text
    assert "| IronyTR | generated | 200 | 0 | not measured | built-in sample |  |" in text
    assert "Bir cümle." not in text  # source text stays in the data card


def test_provenance_says_what_is_not_recorded(make_report):
    _, text, _ = make_report()
    assert "- commit: not recorded: the folder is no git checkout" in text
    assert "- dvc.lock: not recorded: the stages were run without DVC" in text


def test_provenance_names_commit_hashes_and_revisions(make_report, tmp_path):
    import subprocess

    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], cwd=tmp_path, check=True)
    lock = "schema: '2.0'\nstages:\n  corpus:\n    cmd: x\n    outs:\n    - path: data/corpus\n"
    (tmp_path / "dvc.lock").write_text(lock + "      md5: 0badc0ffee1234.dir\n", encoding="utf-8")
    _, text, _ = make_report({"backbone.source": "hub", "backbone.revision": "abc123"})
    assert re.search(r"- commit: [0-9a-f]{40}, with changes that are not committed", text)
    assert "data/corpus 0badc0ffee" in text
    assert "- backbone: hub: jhu-clsp/mmBERT-base @ abc123" in text
