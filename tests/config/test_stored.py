"""Parameters and metrics of an earlier release, by the names of this one."""

import copy

import pytest

from diffutron.config.params import parse_params
from diffutron.config.stored import parse_stored_params, translate_metrics
from diffutron.runtime.errors import UserError


def test_parameters_of_this_release_are_read_as_they_are(demo_values):
    stored = parse_stored_params(copy.deepcopy(demo_values), origin="test")
    assert stored == parse_params(demo_values, origin="test")


def test_an_old_name_is_renamed_only_where_the_new_one_belongs(demo_values):
    values = copy.deepcopy(demo_values)
    del values["promote"]
    del values["backbone"]["objective"]
    del values["tokenizer"]["trim"]
    for key in ("tasks_dir", "tasks_digest", "probe_rows"):
        del values["evaluate"][key]
    for stage in ("backbone", "pretrain", "instruct_phase1", "instruct_phase2"):
        del values[stage]["training"]["mask_rates"]
        del values[stage]["training"]["optimizer"]
    for phase in ("instruct_phase1", "instruct_phase2"):
        del values[phase]["normalize"]
        values[phase]["mask_rate"] = [0.25, 1.0]
    old = values["evaluation"] = values.pop("evaluate")
    old["max_rows"], old["documents"] = old.pop("likelihood_rows"), old.pop("heldout_documents")
    values["corpus"]["hub"][0]["licence"] = "CC BY 4.0"
    values["instructions"]["max_rows"] = 7  # a name that both releases have
    found = parse_stored_params(values, origin="test")
    assert found.evaluate.likelihood_rows == demo_values["evaluate"]["likelihood_rows"]
    assert found.evaluate.perplexity_text.documents == 100
    assert found.instructions.max_rows == 7
    assert found.corpus.hub[0].license == "CC BY 4.0"
    assert found.promote.max_drop == 0.1
    assert found.instruct_phase1.training.mask_rates.bounds == (0.25, 1.0)
    assert found.pretrain.training.mask_rates.bounds == (0.0, 1.0)
    assert found.pretrain.training.mask_rates.shape == "uniform"
    assert found.backbone.training.optimizer.name == "adamw"
    assert found.backbone.objective == "mlm"
    assert found.tokenizer.trim is None
    assert found.evaluate.tasks_dir is found.evaluate.tasks_digest is None
    assert found.evaluate.probe_rows == 0
    assert found.instruct_phase1.normalize == found.instruct_phase2.normalize == "token"


@pytest.mark.parametrize("values", [{}, {"promote": 1}, [1], None])
def test_what_no_release_stored_is_refused(values):
    with pytest.raises(UserError, match="test: "):
        parse_stored_params(values, origin="test")


@pytest.mark.parametrize("promote", [True, False])
def test_a_share_of_the_unigram_model_became_a_baseline(demo_values, promote):
    values = copy.deepcopy(demo_values)
    gate = values["register"]["gate"]
    del gate["below_baseline"]
    gate["max_bits_per_byte_of_unigram"] = 0.85
    if not promote:
        del values["promote"]
    assert parse_stored_params(values, origin="test").register_.gate.below_baseline == "unigram"


def test_metrics_are_renamed_at_any_depth():
    old = {"tasks": [{"touched": 1, "canaries": {"oracle": True}}], "touched": 2}
    assert translate_metrics(old) == {
        "tasks": [{"contaminated": 1, "sanity_checks": {"oracle": True}}],
        "contaminated": 2,
    }
