"""Reading a run: damaged files are named, and so is the stage that makes them."""

import pytest

from diffutron.reporting.inputs import Curve, read_curve, read_inputs
from diffutron.runtime.errors import UserError


def test_curve_leaves_gaps_where_nothing_was_measured(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("step,loss,eval_loss,learning_rate,tokens\n1,2.5,,0.1,9\n2,,3.5,,9\n")
    curve = read_curve(path, made_by="pretrain")
    assert curve == Curve(train=[(1, 2.5)], held_out=[(2, 3.5)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step,loss\n1,2\n", "no column `eval_loss`"),
        ("", "no column `step`"),
        ("step,loss,learning_rate,eval_loss\n1,2,3,\nx,2,3,\n", "line 3"),
        ("step,loss,learning_rate,eval_loss\n1,two,3,\n", "line 2"),
        ("step,loss,learning_rate,eval_loss\n1,2\n", "line 2"),
    ],
)
def test_damaged_curves_are_named(tmp_path, text, message):
    path = tmp_path / "pretrain.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=f"pretrain.csv.*{message}.*diffutron pretrain"):
        read_curve(path, made_by="pretrain")


def test_damaged_rows_are_named(run_files):
    path = run_files["evaluation"] / "instructions_phase2.jsonl"
    path.write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(UserError, match=r"phase2\.jsonl, line 2: not JSON.*`diffutron evaluate`"):
        read_inputs(**run_files)


def test_damaged_metrics_are_named(run_files):
    (run_files["metrics_dir"] / "pretrain.json").write_text("{")
    with pytest.raises(UserError, match=r"pretrain\.json is not valid JSON.*diffutron pretrain"):
        read_inputs(**run_files)


def test_stages_come_in_the_order_of_the_pipeline(run_files):
    inputs = read_inputs(**run_files)
    assert list(inputs.metrics)[:4] == ["tokenizer", "corpus", "backbone", "pretrain"]
    assert list(inputs.metrics)[-1] == "evaluate"
    assert set(inputs.curves) == {"backbone", "pretrain", "instruct_phase1", "instruct_phase2"}
