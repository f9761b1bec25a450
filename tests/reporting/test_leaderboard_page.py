"""The pages of the leaderboard: measured and published apart, stand-ins and faults marked."""

import re

import pytest

from diffutron.reporting.leaderboard_page import print_pairs, says, summary_lines, write_pages


def row(system, task, acc, *, stand_in=None, published=None, **more):
    return {
        "system": system,
        "task": task,
        "stand_in": stand_in,
        "protocol": "corrected",
        "shots": 0,
        "n": 100,
        "correct": None if acc is None else round(100 * acc),
        "acc": acc,
        "acc_norm": acc,
        "low": None if acc is None else acc - 0.1,
        "high": None if acc is None else acc + 0.1,
        "chance": 0.2,
        "constant": 0.25,
        "published": published,
        "sanity_checks": {"oracle": True, "target": None},
        "sanity_check_details": {"oracle": "100 of 100 right"},
        "p_value": None if acc is None else (0.0001 if acc > 0.5 else 0.4),
        "recall": {"0": 0.5},
        "predicted": {"0": 100},
        "ties": 0,
        "supervised": False,
        "why": None,
        "contaminated": None,
        "findable": None,
        "acc_uncontaminated": None,
        **more,
    }


@pytest.fixture(scope="module")
def results():
    pair = {
        "a": "ours", "b": "random", "task": "news_cat", "protocol": "corrected", "n": 100,
        "difference": 0.5, "low": 0.4, "high": 0.6, "p_value": 0.0001, "p_holm": 0.0002,
        "verdict": "better", "items_needed": 20,
    }  # fmt: skip
    mean = {
        **pair, "task": "mean", "difference": 0.01, "p_value": 0.6, "p_holm": 0.6,
        "verdict": "cannot be told", "items_needed": 120_000,
    }  # fmt: skip
    return {
        "rows": [
            row("ours", "news_cat", 0.7, published=0.324)
            | {"contaminated": 2, "findable": 199, "acc_uncontaminated": 0.69},
            row(
                "ours",
                "standin_mrc4_from_xquad_tr",
                0.3,
                stand_in="belebele_tr",
                sanity_checks={"oracle": True, "target": False},
                sanity_check_details={
                    "oracle": "fine",
                    "target": "'spor' was scored as '<eos>' | x",
                },
            ),
            row("random", "news_cat", 0.2),
            row("random", "standin_mrc4_from_xquad_tr", 0.25, stand_in="belebele_tr"),
            row("bow", "news_cat", 0.9, supervised=True),
            row(
                "bow", "standin_mrc4_from_xquad_tr", None, stand_in="belebele_tr",
                supervised=True, why="no training split", recall=None, predicted=None,
            ),
        ],
        "means": [
            {"system": "ours", "protocol": "corrected", "tasks": 2, "acc": 0.5, "acc_norm": 0.5,
             "chance": 0.2, "constant": 0.25},
        ],
        "pairs": [pair, mean],
        "not_scored": [{"system": "turna", "reason": "the hub does not give <it>"}],
        "missing_sets": ["xcopa_tr"],
        "sets": [
            {"task": "news_cat", "stand_in": None, "protocol": "corrected", "items": 100,
             "origin": "news_cat_test.jsonl", "dropped": {"label -1": 3}},
        ],
        "options": {"protocol": "corrected", "shots": 0, "limit": None, "source": "local"},
        "published": [
            {"system": "turna", "column": "TURNA (1.1B)", "published": {"news_cat": 0.328}}
        ],
    }  # fmt: skip


@pytest.fixture(scope="module")
def pages(results, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    write_pages(results, folder)
    return {kind: (folder / f"leaderboard.{kind}").read_text() for kind in ("md", "html")}


@pytest.mark.parametrize("kind", ["md", "html"])
def test_both_pages_say_what_a_number_is(pages, kind):
    page = pages[kind]
    for text in (
        "stand-in, not belebele_tr",
        "standin_mrc4_from_xquad_tr",
        "(supervised)",
        "(a sanity check failed)",
        "published 32.40",
        "70.00*",
        "2 items stand in its training data (of 199 that the search can find); 69.00 without them",
        "Published, not measured here",
        "TURNA (1.1B)",
        "xcopa_tr is not in the folder",
        "3 of label -1",
        "100</td><td>news_cat_test" if kind == "html" else "| 100 | news_cat_test",
        "cannot be told",
        "120 000",
    ):
        assert text in page, text


def test_measured_and_published_stand_in_tables_of_their_own(pages):
    measured, published = pages["md"].split("## Published, not measured here")
    assert "TURNA (1.1B)" not in measured
    assert "32.80" in published
    belebele = next(line for line in published.splitlines() if line.startswith("| Belebele_TR"))
    assert "not measured" in belebele, "what is not published either is no number"


def test_the_page_is_self_contained_and_escapes_what_it_shows(pages):
    page = pages["html"]
    assert not re.search(r"(src|href)=\"(?!#)", page)
    assert "&lt;it&gt;" in page
    assert "&lt;eos&gt;" in page
    assert "th.sortable" in page
    assert "'spor' was scored as '<eos>' \\| x" in pages["md"]


def test_a_pair_in_words(results):
    better, open_one = results["pairs"]
    assert says(better) == "ours is better than random on news_cat"
    assert says(open_one) == (
        "ours against random on the mean: cannot be told; "
        "a difference of this size takes 120 000 items, there are 100"
    )
    same = {**open_one, "items_needed": None}
    assert says(same) == "ours and random on the mean: no difference"


def test_the_end_of_a_run_says_what_it_came_to(results):
    lines = summary_lines(results)
    assert lines[0].startswith("ours (corrected): mean 50.00 of 2 tasks (chance 20.00")
    assert lines[-1] == "not scored: turna: the hub does not give <it>"
    assert "not in the folder: xcopa_tr" in lines
    assert [one for one in lines if one.startswith("no score: ")] == [
        f"no score: {one['system']} (corrected) on {one['task']}: no training split"
        for one in results["rows"]
        if one["why"]
    ]


def test_a_comparison_on_the_terminal(results, capsys):
    import json

    print_pairs(results["pairs"], as_json=False)
    assert "news_cat: A - B +50.00 (+40.00 to +60.00), n 100" in capsys.readouterr().out
    print_pairs(results["pairs"], as_json=True)
    assert json.loads(capsys.readouterr().out) == results["pairs"]


def test_parts_and_published_scores_stand_beside_the_whole(results, tmp_path):
    part = {"n": 40, "correct": 20, "acc": 0.5, "low": 0.35, "high": 0.65, "chance": 0.25}
    more = {"parts": {"ekler": part}, "cluster_interval": {"clusters": 7, "low": 0.3, "high": 0.72}}
    theirs = {"name": "büyük", "size": "9B", "acc": 0.8, "low": 0.7, "high": 0.9}
    published = {"source": "its README", "interval": "95 %", "systems": [theirs]}
    board = results | {
        "rows": [*results["rows"], row("ours", "morfoloji", 0.55, **more)],
        "sets": [*results["sets"], results["sets"][0] | {
            "task": "morfoloji", "stand_in": None, "published": published}],
    }  # fmt: skip
    write_pages(board, tmp_path)
    text = (tmp_path / "leaderboard.md").read_text("utf-8")
    assert "| ekler | 40 | 25.00 | 50.00 (35.0 - 65.0) |" in text
    assert "| all, by cluster | | | 30.0 - 72.0, 7 clusters |" in text
    beside = text[text.index("## morfoloji: published scores") :].splitlines()
    assert beside[4] == "| büyük | 9B | 80.00 | 70.0 - 90.0 | published |"
    assert beside[5] == "| ours |  | 55.00 | 30.0 - 72.0, 7 clusters | measured here |"
    page = (tmp_path / "leaderboard.html").read_text("utf-8")
    assert '<td class="published" data-value="0.8">80.00</td>' in page
    assert "<title>Leaderboard: Turkish tasks</title>" in page
    write_pages(results, tmp_path)
    assert "Parts of" not in (tmp_path / "leaderboard.html").read_text("utf-8")
