"""`diffutron generate | infill | decide | score | chat`."""

import json
import re
import shutil
import subprocess
import sys
from html import unescape

import pytest
from typer.testing import CliRunner

import diffutron
from diffutron.cli.app import app
from diffutron.inference.prompts import encode
from diffutron.reporting.denoising.players import trace_page
from diffutron.runtime.errors import UserError


@pytest.fixture
def run(tiny_model_dir):
    def invoke(command: str, *arguments: str, stdin: str | None = None):
        asked = [command, "--model", str(tiny_model_dir), "--device", "cpu", *arguments]
        return CliRunner().invoke(app, asked, input=stdin)

    return invoke


def test_generate_prints_text_and_writes_a_page(run, tmp_path) -> None:
    page = tmp_path / "trace.html"
    done = run("generate", "Kedi", "--max-new-tokens", "4", "--trace", str(page))
    assert done.exit_code == 0, done.output
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert not re.search(r"(src|href)=|https?://", text)  # self-contained
    assert re.search(r'class="prompt">(.*?)<', text).group(1) == "Kedi"
    assert unescape(re.search(r'class="said" lang="tr">(.*?)<', text).group(1)) in done.output
    assert text.count("data-events=") == 4


def test_decide_prints_the_likeliest_option_first(run, tiny_model_dir) -> None:
    asked = ("--question", "Konu?", "--context", "Kedi", "--option", "spor", "--option", "evcil")
    lm = diffutron.load(tiny_model_dir, device="cpu")
    for extra, chat in ((), None), (("--raw",), False), (("--chat-format", "compact"), True):
        right = diffutron.decide(lm, "Konu?", ["spor", "evcil"], "Kedi", chat=chat)
        done = run("decide", *asked, *extra)
        lines = [line.split("  ") for line in done.stdout.splitlines()]
        shown = sorted(right.probabilities, key=lambda option: -right.probabilities[option])
        assert lines == [[f"{right.probabilities[option]:.4f}", option] for option in shown]
        row = json.loads(run("decide", *asked, *extra, "--json").stdout)
        assert row["choice"] == right.choice == shown[0]
        assert row["probabilities"] == pytest.approx(right.probabilities)
        assert [*row["scores"]] == ["spor", "evcil"]
    wrong = run("decide", "--question", "Konu?", "--option", "a", "--option", "a")
    assert "options: 'a' is there twice" in str(wrong.exception)


def test_a_model_computes_in_the_numbers_asked_for(run) -> None:
    asked = ("score", "Kedi", " uyudu")
    found = [run(*asked, "--dtype", dtype, "--json") for dtype in ("float32", "bfloat16")]
    wide, half = (json.loads(done.stdout)["logprob"] for done in found)
    assert wide != half
    assert wide == pytest.approx(half, rel=0.05)


def test_a_trace_as_data(run, tmp_path) -> None:
    file = tmp_path / "trace.json"
    assert run("generate", "Kedi", "--max-new-tokens", "2", "--trace", str(file)).exit_code == 0
    (trace,) = json.loads(file.read_text(encoding="utf-8"))
    assert set(trace) == {"prompt", "answer", "block_length", "steps"}


def test_a_trace_as_a_picture(run, tmp_path) -> None:
    file = tmp_path / "trace.svg"
    assert run("generate", "Kedi", "--max-new-tokens", "4", "--trace", str(file)).exit_code == 0
    assert file.read_text(encoding="utf-8").startswith("<svg")
    assert file.stat().st_size < 20_000
    two = tmp_path / "two.jsonl"
    two.write_text('{"prompt": "a"}\n{"prompt": "b"}\n', encoding="utf-8")
    done = run("generate", "--input", str(two), "--trace", str(file))
    assert "a picture shows one prompt, and there are 2" in str(done.exception)


def test_a_trace_cannot_break_out_of_its_page() -> None:
    page = trace_page([{"prompt": "</script><script>alert(1)", "answer": "", "steps": []}])
    assert "</script><script>alert" not in page


def test_generate_from_a_file_as_json(run, tmp_path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "Kedi"}\n\n{"prompt": "Ankara?"}\n', encoding="utf-8")
    done = run("generate", "--input", str(file), "--json", "--max-new-tokens", "2", "--raw")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["prompt"] for row in rows] == ["Kedi", "Ankara?"]
    assert all(set(row) == {"prompt", "text", "token_ids", "num_steps"} for row in rows)


def test_a_pipe_holds_a_prompt_a_line(run) -> None:
    done = run("generate", "--json", "--max-new-tokens", "2", stdin="Kedi\n\nAnkara başkenti?\n")
    assert [json.loads(line)["prompt"] for line in done.stdout.splitlines()] == [
        "Kedi",
        "Ankara başkenti?",
    ]
    done = run("infill", stdin="Ankara [MASK].\n")
    assert done.stdout.startswith("Ankara")


@pytest.mark.slow
def test_lines_of_json_come_from_a_pipe(tiny_model_dir) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "diffutron", "score", "--model", tiny_model_dir, "--input", "-"],
        input='{"context": "Kedi", "continuation": " ev"}\n',
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.fullmatch(r"-\d+\.\d+ nats \(exact, \d+ tokens, \d+ rows\)\n", done.stdout)


def test_presets_are_the_published_settings(run) -> None:
    done = run(
        "generate",
        "Kedi",
        "--preset",
        "shorter",
        "--json",
        "--max-new-tokens",
        "8",
        "--num-steps",
        "8",
        "--block-length",
        "8",
    )
    assert done.exit_code == 0, done.output
    done = run("generate", "Kedi", "--preset", "longer")
    assert isinstance(done.exception, UserError)  # 128 new tokens do not fit the tiny model
    assert "the model holds 128" in str(done.exception)


def test_infill_and_score(run) -> None:
    done = run("infill", "Ankara [MASK] başkentidir.")
    assert done.stdout.startswith("Ankara")
    done = run("score", "Kedi", " ev")
    assert re.fullmatch(r"-\d+\.\d+ nats \(exact, \d+ tokens, \d+ rows\)\n", done.stdout)
    done = run("score", "Kedi", " bahçede uyuyor", "--max-rows", "4")
    assert "standard error" in done.stdout
    done = run("score", "Kedi", " ev", "--json")
    assert json.loads(done.stdout)["exact"] is True


def test_mistakes_are_user_errors(run, tmp_path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"prompt": "a"}\n{"text": 1}\n', encoding="utf-8")
    half = tmp_path / "half.jsonl"
    half.write_text('{"prompt": "a"}\n{"prompt": "\\ud83d"}\n', encoding="utf-8")
    folder = tmp_path / "folder.html"
    folder.mkdir()
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{", encoding="utf-8")
    for arguments, message in [
        (("generate",), "give PROMPT, or --input FILE.jsonl"),
        (("generate", "a", "--input", str(bad)), "not both"),
        (("generate", "--input", str(bad)), "line 2: need an object with the texts prompt"),
        (("generate", "--input", str(broken)), "broken.jsonl, line 1: not JSON"),
        (("generate", "--input", str(tmp_path / "none")), "does not exist"),
        (("generate", "a", "--trace", "trace.gif"), "ends in .html, .svg or .json"),
        (("generate", "a", "--trace", str(bad / "x.html")), "no file can be written there"),
        (("generate", "a", "--trace", f"{folder}"), "no file can be written there"),
        (("generate", "--input", str(half)), "half.jsonl, line 2: text number 0 is no Unicode"),
        (("generate", "a", "--num-steps", "0"), "num_steps=0"),
        (("score", "a"), "give CONTEXT CONTINUATION"),
        (("generate", "a", "--device", "tpu9"), "device='tpu9': this machine has cpu and"),
        (("generate", "a", "--device", "cuda:99"), "device='cuda:99': this machine has cpu and"),
    ]:
        done = run(*arguments)
        assert isinstance(done.exception, UserError), (arguments, done.output)
        assert message in str(done.exception)


@pytest.mark.slow
def test_a_checkpoint_without_a_head_is_one_line(tiny_model_dir, tmp_path) -> None:
    """As a user sees it: nothing of what the libraries print while loading."""
    import subprocess
    import sys

    from transformers import AutoTokenizer, ModernBertModel

    ModernBertModel.from_pretrained(tiny_model_dir).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_model_dir).save_pretrained(tmp_path)
    command = [sys.executable, "-m", "diffutron", "generate", "--model", str(tmp_path), "Kedi"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: path=")
    assert "no language-model head" in line


def test_chat_answers_until_an_empty_line(run) -> None:
    done = run("chat", "--memory", "1", stdin="Selam\nNerede?\n\n")
    assert done.exit_code == 0, done.output
    assert done.output.count(">") >= 3
    done = run("chat", stdin="Selam\n")
    assert done.exit_code == 0


def test_a_question_that_cannot_be_answered_ends_no_conversation(run) -> None:
    done = run("chat", "--memory", "1", stdin=f"{'kelime ' * 90}\nNerede?\n\n")
    assert done.exit_code == 0, done.output
    first, second = done.output.split("> ")[1:3]
    assert "error: prompts: number 0 has" in first
    assert second.strip()
    assert "error" not in second


def test_a_published_model_without_a_chat_format(hub, tiny_model_dir) -> None:
    """Its name and revision are enough; what its prompts become is said, and can be chosen."""
    folder = hub.store.folder / "models/a/b@v1"
    shutil.copytree(tiny_model_dir, folder)
    folder.with_name("b").mkdir()
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    asked = ["generate", "--model", "a/b@v1", "--max-new-tokens", "2", "--json", "Kedi"]
    plain = CliRunner().invoke(app, asked)
    assert plain.exit_code == 0, plain.output
    assert "a/b@v1 has no chat format, so the prompt is continued as plain text" in plain.stderr
    for chosen in (["--raw"], ["--chat-format", "published"]):
        assert "no chat format" not in CliRunner().invoke(app, [*asked, *chosen]).stderr
    published = diffutron.load("a/b@v1", chat_format="published").tokenizer
    assert encode(published, ["Kedi"], chat=True) != encode(published, ["Kedi"], chat=False)
    with pytest.raises(ValueError, match=r"path='a/b@v2': model a/b has no revision v2"):
        diffutron.load("a/b@v2")
