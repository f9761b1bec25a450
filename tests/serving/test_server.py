"""The command: it says when it answers, refuses what is unsafe, and ends in order."""

import json
import signal
import socket
import subprocess
import sys
import threading

import httpx
import pytest

from diffutron.runtime.errors import UserError
from diffutron.serving.server import model_id, serve

LIMITS = {
    "device": "cpu",
    "dtype": "float32",
    "chat_format": None,
    "max_batch_tokens": 512,
    "max_rows": 8,
    "timeout": 60.0,
    "grace": 30.0,
    "tell": print,
}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_no_open_address_without_a_key(host) -> None:
    with pytest.raises(UserError, match="DIFFUTRON_API_KEY"):
        serve("no-model", host=host, port=0, **LIMITS)


def test_a_port_that_is_taken_is_told_before_the_model_is_read() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="cannot be opened"):
            serve("no-model", host="127.0.0.1", port=taken.getsockname()[1], **LIMITS)


def test_the_id_of_a_model(tmp_path) -> None:
    assert model_id("models:/diffutron@champion") == "champion"
    assert model_id("models:/diffutron/3") == "3"
    assert model_id("diffutron/DiffutronLM-0.3B-Instruct@abc") == "DiffutronLM-0.3B-Instruct"
    assert model_id(f"{tmp_path}/") == tmp_path.name


@pytest.mark.slow
def test_sigterm_under_load_ends_what_runs(tiny_model_dir) -> None:
    command = [sys.executable, "-m", "diffutron", "serve", "--model", str(tiny_model_dir)]
    with subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith("serving model at http://127.0.0.1:")
            url = line.split()[-1]
            body = {"prompt": "Kedi", "max_tokens": 100, "num_steps": 300, "remask": 0.9, "n": 4}
            replies = []

            def ask() -> None:
                replies.append(httpx.post(f"{url}/v1/completions", json=body, timeout=120))

            asking = threading.Thread(target=ask)
            asking.start()
            while "running 4.0" not in httpx.get(f"{url}/metrics").text:
                pass
            process.send_signal(signal.SIGTERM)
            asking.join(120)
            assert process.wait(60) == 0
            assert replies[0].status_code == 200
            assert len(json.loads(replies[0].text)["choices"]) == 4
            with pytest.raises(httpx.ConnectError):
                httpx.get(f"{url}/health")
        finally:
            process.kill()
