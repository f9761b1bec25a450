"""The report stage on the files of a run."""

import json


def test_page_is_written(make_params, run_files, tmp_path, monkeypatch):
    from diffutron.reporting.report import report

    monkeypatch.chdir(tmp_path)
    report(make_params(), **run_files, out=tmp_path / "report", summary=tmp_path / "summary.json")
    page = (tmp_path / "report/report.html").read_text(encoding="utf-8")
    assert "Ankara" in page
    assert json.loads((tmp_path / "summary.json").read_text())["profile"] == "demo"
