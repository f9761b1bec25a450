"""`diffutron.load`: what is read, what is refused, and what stands in the registry."""

import hashlib
import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch

import diffutron


def test_folders_that_are_no_model(tiny_model_dir, tiny_tokenizer_dir, tmp_path) -> None:
    from transformers import ModernBertModel

    with pytest.raises(ValueError, match="path='/nowhere': there is no such folder"):
        diffutron.load("/nowhere")
    with pytest.raises(ValueError, match="no checkpoint can be read there"):
        diffutron.load(tiny_tokenizer_dir)
    headless = tmp_path / "headless"
    ModernBertModel.from_pretrained(tiny_model_dir).save_pretrained(headless)
    with pytest.raises(ValueError, match="has no language-model head"):
        diffutron.load(headless)
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    with pytest.raises(ValueError, match="holds a bert model; need a modernbert"):
        diffutron.load(other)
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(tiny_model_dir / name, bare)
    with pytest.raises(ValueError, match="no tokenizer|no mask token"):
        diffutron.load(bare)


def test_checksums_are_verified(tiny_model_dir, tmp_path) -> None:
    folder = shutil.copytree(tiny_model_dir, tmp_path / "model")
    listed = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    (folder / "checksums.json").write_text(json.dumps(listed), encoding="utf-8")
    diffutron.load(folder)
    for content, message in [
        (listed | {"config.json": "00"}, "config.json is damaged: its sha256"),
        (listed | {"absent.json": "00"}, "absent.json is missing; fetch the model again"),
        (listed | {"../x": "00"}, "names '../x', which is outside the folder"),
        (["config.json"], "is no list of checksums"),
    ]:
        (folder / "checksums.json").write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(ValueError, match=f"path=.*{message}"):
            diffutron.load(folder)


class Bomb:
    """What a hostile pickle does when it is read."""

    def __reduce__(self):
        return (Path("exploded").touch, ())


@pytest.mark.parametrize("name", ["pytorch_model.bin", "adapter_model.bin", "weights.ckpt"])
def test_pickled_weights_are_never_read(tiny_model_dir, tmp_path, monkeypatch, name) -> None:
    monkeypatch.chdir(tmp_path)
    folder = shutil.copytree(tiny_model_dir, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match=f"path=.*{name} holds pickled weights"):
        diffutron.load(folder)
    assert not Path("exploded").exists()


@pytest.mark.parametrize(
    "name", ["../../etc", "/etc", "models:/../../etc/passwd", "models:/x@$(id)", "a/../../b", ""]
)
def test_names_do_not_lead_elsewhere(tmp_path, monkeypatch, name) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="path="):
        diffutron.load(name)


def test_adapters_are_merged_on_loading(tiny_model_dir, tmp_path) -> None:
    from peft import LoraConfig, get_peft_model

    plain, base = (diffutron.load(tiny_model_dir, device="cpu").model for _ in range(2))
    adapted = get_peft_model(base, LoraConfig(r=2, target_modules=["Wi"], init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "adapter")
    found = diffutron.load(tmp_path / "adapter", device="cpu")
    ids = torch.tensor([[2, 20, 30, 40]])
    with torch.no_grad():
        torch.testing.assert_close(
            found.model(ids).logits, adapted(ids).logits, atol=1e-4, rtol=1e-4
        )
        assert not torch.allclose(found.model(ids).logits, plain(ids).logits, atol=1e-2)

    def name_base(name: str | None) -> None:
        config = tmp_path / "adapter" / "adapter_config.json"
        values = json.loads(config.read_text(encoding="utf-8")) | {"base_model_name_or_path": name}
        config.write_text(json.dumps(values), encoding="utf-8")

    # A place in the project, as training writes it, seen from wherever one stands.
    shutil.copytree(tiny_model_dir, tmp_path / "models" / "backbone")
    name_base("models/backbone")
    assert torch.equal(
        diffutron.load(tmp_path / "adapter").model(ids).logits, found.model(ids).logits
    )
    shutil.rmtree(tmp_path / "models")
    with pytest.raises(ValueError, match="its base model 'models/backbone' is not beside it"):
        diffutron.load(tmp_path / "adapter")
    name_base(None)
    with pytest.raises(ValueError, match="names no base model"):
        diffutron.load(tmp_path / "adapter")


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 2400000\n"


@pytest.mark.parametrize(
    ("weights", "message"),
    [(None, "weights are damaged"), (b"", "weights are damaged"), (LFS, "`git lfs pull` fetches")],
)
def test_damaged_weights(tiny_model_dir, tmp_path, weights, message) -> None:
    """None: cut short."""
    folder = shutil.copytree(tiny_model_dir, tmp_path / "model")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000] if weights is None else weights)
    with pytest.raises(ValueError, match=message):
        diffutron.load(folder)


def test_half_precision_gives_finite_scores(tiny_model_dir) -> None:
    half = diffutron.load(tiny_model_dir, device="cpu", dtype=torch.bfloat16)
    exact = diffutron.load(tiny_model_dir, device="cpu")
    pair = [("Kedi", " ev")]
    assert diffutron.score(half, pair)[0].logprob == pytest.approx(
        diffutron.score(exact, pair)[0].logprob, rel=0.05
    )


def test_a_registered_version(tiny_model_dir, tmp_path, monkeypatch) -> None:
    """`models:/...` is resolved by MLflow; the version's files may lie at any depth."""
    import mlflow

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    try:
        with mlflow.start_run() as run:
            mlflow.log_artifacts(str(tiny_model_dir), "package/artifacts/model")
        client = mlflow.MlflowClient()
        client.create_registered_model("diffutron")
        version = client.create_model_version(
            "diffutron", f"{run.info.artifact_uri}/package", run.info.run_id
        )
        client.set_registered_model_alias("diffutron", "champion", version.version)
        found = diffutron.load("models:/diffutron@champion", device="cpu")
        assert diffutron.score(found, [("Kedi", " ev")])[0].exact
        with pytest.raises(
            ValueError, match="path='models:/diffutron@nobody': not read from the registry"
        ):
            diffutron.load("models:/diffutron@nobody")
    finally:
        mlflow.set_tracking_uri(None)
