"""The commands that judge: files written, exit codes, one line for a mistake."""

import json

import pytest

from diffutron.cli import app as cli

pytestmark = pytest.mark.slow


@pytest.fixture
def run(monkeypatch, capsys, repo):
    monkeypatch.chdir(repo)  # the list of systems stands there

    def call(*words):
        monkeypatch.setattr("sys.argv", ["diffutron", *map(str, words)])
        try:
            cli.main()
        except SystemExit as end:
            return end.code or 0, *capsys.readouterr()
        return 0, *capsys.readouterr()

    return call


@pytest.fixture
def rows(tmp_path):
    """A folder with one set of eight rows."""
    folder = tmp_path / "rows"
    folder.mkdir()
    lines = [json.dumps({"text": f"Gün {n}.", "label": n % 2}) for n in range(8)]
    (folder / "ironytr.jsonl").write_text("\n".join(lines))
    return folder


def test_leaderboard_writes_three_files_and_names_missing_sets(run, rows, tmp_path):
    out = tmp_path / "out"
    code, printed, _ = run("leaderboard", "--data", rows, "--only", "random,constant", "--out", out)
    assert code == 0
    for kind in ("json", "md", "html"):
        assert (out / f"leaderboard.{kind}").stat().st_size > 500
    assert "not in the folder: sts_tr" in printed
    assert "constant (corrected): mean 50.00 of 1 tasks" in printed
    results = json.loads((out / "leaderboard.json").read_text())
    assert [row["system"] for row in results["rows"]] == ["random", "constant"]


def test_a_failed_check_is_exit_code_one(run, rows, tmp_path, monkeypatch):
    from diffutron.evaluation.scoring import sanity_checks

    failed = sanity_checks.SanityCheck(False, "7 of 8 right")
    monkeypatch.setattr(sanity_checks, "oracle", lambda _: failed)
    code, _, err = run("leaderboard", "--data", rows, "--only", "random", "--out", tmp_path / "o")
    assert code == 1
    assert (
        err.strip().splitlines()[-1].startswith("error: 1 sanity checks failed; the first: random")
    )
    assert "a sanity check failed" in (tmp_path / "o" / "leaderboard.md").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["leaderboard", "--only", "nonsense"], "unknown system 'nonsense'"),
        (["leaderboard", "--tasks", "nonsense"], "unknown task 'nonsense'"),
        (["leaderboard", "--protocol", "nonsense"], "unknown protocol"),
        (["leaderboard", "--systems", "none.yaml"], "none.yaml does not exist"),
        (["compare", "no/where", "no/where"], "neither a run with answers nor a model folder"),
        (["compare", ".", ".", "--protocol", "both"], "made in one protocol"),
        (["claims", "--file", "none.yaml"], "none.yaml does not exist"),
        (["perplexity", "--model", "no/where", "--text", "none.jsonl"], "no such file"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_two(run, words, message):
    code, _, err = run(*words)
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert message in err


def test_a_label_outside_the_choices_and_a_missing_field_are_exit_code_two(run, rows, tmp_path):
    for row, message in (({"text": "x", "label": 5}, "`label` = 5"), ({"label": 1}, "`text`")):
        (rows / "ironytr.jsonl").write_text(json.dumps(row))
        code, _, err = run(
            "leaderboard", "--data", rows, "--only", "random", "--out", tmp_path / "o"
        )
        assert code == 2
        assert message in err


def test_compare_two_runs(run, tmp_path):
    for name, right in (("a", [True] * 30), ("b", [False] * 30)):
        items = [{"row": n, "correct": r, "choices": ["x", "y"]} for n, r in enumerate(right)]
        folder = tmp_path / name / "items"
        folder.mkdir(parents=True)
        (folder / "s.corrected.ironytr.jsonl").write_text("\n".join(map(json.dumps, items)))
    code, out, _ = run("compare", tmp_path / "a", tmp_path / "b", "--json")
    assert code == 0
    (entry,) = json.loads(out)
    assert entry["verdict"] == "better"
    assert entry["p_value"] == pytest.approx(2 * 0.5**30)


def test_a_registered_version_that_is_not_there_is_one_line(run, monkeypatch):
    from diffutron.inference import loading

    def absent(uri):
        raise ValueError(f"path={uri!r}: not in the registry")

    monkeypatch.setattr(loading, "registered_folder", absent)
    code, _, err = run("compare", "models:/diffutron@champion", "models:/diffutron@1")
    assert code == 2
    assert "not in the registry" in err


def test_compare_scores_two_models(run, rows, tmp_path, tiny_model_dir, monkeypatch):
    from diffutron.inference import loading

    monkeypatch.setattr(loading, "registered_folder", lambda _: tiny_model_dir)
    words = ["--data", rows, "--tasks", "ironytr", "--limit", 4, "--out", tmp_path / "o"]
    code, out, _ = run("compare", "models:/d@a", str(tiny_model_dir), *words)
    assert code == 0
    assert "ironytr: A - B +0.00" in out, "the same weights under two names"
    assert "no difference" in out


def test_claims_hold_and_a_contradiction_is_exit_code_one(run, repo, tmp_path):
    code, out, _ = run("claims", "--file", repo / "docs" / "claims.yaml")
    assert code == 0
    assert "lora-share: reproduced: 14.94 %, found 14.9417" in out
    text = (repo / "docs" / "claims.yaml").read_text().replace("value: 14.94", "value: 15.94")
    (tmp_path / "claims.yaml").write_text(text)
    code, out, err = run("claims", "--file", tmp_path / "claims.yaml")
    assert code == 1
    assert "FAULT" in out
    assert "lora-share" in err


def test_perplexity_prints_a_table(run, tiny_model_dir, tmp_path):
    (tmp_path / "text.jsonl").write_text('{"text": "Kedi."}\n')
    out = tmp_path / "found.json"
    code, printed, _ = run(
        "perplexity", "--model", tiny_model_dir, "--text", tmp_path / "text.jsonl", "--out", out
    )
    assert code == 0
    assert "| NELBO, a byte |" in printed
    assert set(json.loads(out.read_text())[str(tiny_model_dir)]) >= {"masked", "nelbo", "pseudo"}
