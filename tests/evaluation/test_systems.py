"""The systems file: complete, agreeing with the published table, strict; and model folders."""

import json

import pytest

from diffutron.config.section import TASKS
from diffutron.evaluation.scorers.systems import MODELS, System, check_folder, read_systems
from diffutron.paper import published
from diffutron.runtime.errors import UserError


@pytest.fixture(scope="module")
def listed(repo):
    return read_systems(repo / "infra" / "systems.yaml")


def test_the_eight_published_columns_are_there_with_their_numbers(listed):
    columns = {one.column: one for one in listed.systems if one.column}
    assert list(columns) == list(published.SYSTEMS)
    for number, name in enumerate(published.SYSTEMS):
        shares = {task: 100 * share for task, share in columns[name].published.items()}
        assert shares == pytest.approx({t: published.ACCURACY[t][number] for t in TASKS})
        assert columns[name].size in name
        assert columns[name].revision is not None


def test_the_baselines_and_our_own_model_are_there(listed):
    names = {one.name: one for one in listed.systems}
    assert {"random", "constant", "longest", "shortest", "unigram", "bow"} <= set(names)
    assert names["diffutron-demo"].model == "models/phase2"
    assert {one.architecture for one in listed.systems} >= set(MODELS)


def test_contamination_rules_are_those_of_the_corpus(listed, make_params):
    rules = make_params().corpus.contamination.model_dump(exclude={"tasks"})
    assert listed.contamination.model_dump() == rules


def test_systems_are_chosen_by_name_in_the_order_of_the_file(listed):
    assert [one.name for one in listed.choose(["bow", "random"])] == ["random", "bow"]
    assert listed.choose(None) == listed.systems
    with pytest.raises(UserError, match="unknown system 'gpt'; allowed: random"):
        listed.choose(["gpt"])


HEAD = """
scoring: {max_rows: 4, batch_tokens: 400, seed: 13}
contamination:
  {ngram: 2, min_words: 3, min_item_words: 3, threshold: 0.3,
   short_threshold: 0.85, whole_fields: null}
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "must hold a mapping of scoring, contamination, systems"),
        (HEAD, "missing key `systems`"),
        (HEAD + "systems: [{name: x, architecture: causal}]", "needs a `model`"),
        (HEAD + "systems: [{name: x, architecture: causal, modl: y}]", "key `systems.0.modl`"),
        (HEAD + "systems: [{name: x, architecture: baseline}]", "no such baseline"),
        (HEAD + "systems: [{name: x, architecture: rnn, model: y}]", "`systems.0.architecture`"),
        (
            HEAD + "systems: [{name: random, architecture: baseline, published: {x_tr: 0.2}}]",
            "unknown tasks",
        ),
        (HEAD + "systems: [{name: bow, architecture: supervised}, {name: bow, architecture: "
         "supervised}]", "stand twice"),
    ],
)  # fmt: skip
def test_a_faulty_file_is_one_line(tmp_path, text, message):
    (tmp_path / "systems.yaml").write_text(text)
    with pytest.raises(UserError, match=message.replace("[", r"\[")):
        read_systems(tmp_path / "systems.yaml")


CONFIGS = {
    "masked_diffusion": {"model_type": "modernbert", "architectures": ["ModernBertForMaskedLM"]},
    "pseudo_likelihood": {"model_type": "bert", "architectures": ["BertForMaskedLM"]},
    "encoder_decoder": {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]},
    "causal": {"model_type": "llama", "architectures": ["LlamaForCausalLM"]},
}


@pytest.mark.parametrize("architecture", CONFIGS)
@pytest.mark.parametrize("kind", CONFIGS)
def test_a_folder_of_another_kind_is_one_line(tmp_path, architecture, kind):
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS[kind]))
    system = System(name="x", architecture=architecture, model=str(tmp_path))
    # A masked diffusion encoder is a masked language model too.
    fits = architecture == kind or (architecture, kind) == ("pseudo_likelihood", "masked_diffusion")
    if fits:
        check_folder(system)
        return
    with pytest.raises(UserError, match=f"holds a {CONFIGS[kind]['model_type']} model"):
        check_folder(system)


def test_a_folder_that_is_no_model_is_one_line(tmp_path):
    system = System(name="x", architecture="causal", model=str(tmp_path))
    with pytest.raises(UserError, match=r"holds no config\.json"):
        check_folder(system)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        check_folder(system)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(UserError, match="no model configuration"):
        check_folder(system)


def test_a_folder_that_is_absent_is_no_fault_of_the_file():
    check_folder(System(name="x", architecture="causal", model="no/such"))
    check_folder(System(name="random", architecture="baseline"))


def test_a_diffusion_folder_without_a_head_is_one_line(tmp_path, tiny_model_dir):
    import shutil

    from safetensors.torch import load_file, save_file

    from diffutron.evaluation.scorers.loading import find, load
    from diffutron.evaluation.scorers.systems import Scoring

    folder = tmp_path / "model"
    shutil.copytree(tiny_model_dir, folder)
    weights = load_file(folder / "model.safetensors")
    kept = {name: w for name, w in weights.items() if not name.startswith(("head.", "decoder."))}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    system = System(name="x", architecture="masked_diffusion", model=str(folder))
    with pytest.raises(UserError, match="has no language-model head"):
        load(system, find(system), Scoring(max_rows=4, batch_tokens=400, seed=0))
