"""The page as it is sent: what it may load, and that its settings are those of the server."""

import base64
import hashlib
import re

import httpx

from diffutron.diffusion.sampling.settings import STRATEGIES
from diffutron.serving.bodies import SETTINGS, Sampling

from .conftest import run_server


def test_the_page_is_open_and_may_load_nothing(lm) -> None:
    with run_server(lm, key="geheim") as one:
        reply = httpx.get(one.url)
        assert (reply.status_code, reply.headers["Content-Type"]) == (
            200,
            "text/html; charset=utf-8",
        )
        assert httpx.get(f"{one.url}/openapi.json").status_code == 401
    rules = dict(
        rule.strip().split(" ", 1) for rule in reply.headers["Content-Security-Policy"].split(";")
    )
    assert rules.pop("connect-src") == "'self'"
    assert rules.pop("img-src") == "data:"
    for kind in ("script", "style"):
        (inline,) = re.findall(rf"<{kind}[^>]*>(.*?)</{kind}>", reply.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert rules.pop(f"{kind}-src") == f"'sha256-{digest}'"
    assert {*rules.values()} == {"'none'"}
    assert "default-src" in rules
    outside = [url for url in re.findall(r"https?://[^\s'\"`]+", reply.text) if "w3.org" not in url]
    assert outside == []
    assert not re.search(r"\sstyle=|\son\w+=", reply.text)  # the policy would drop them


def test_the_settings_are_those_of_the_server(served) -> None:
    html = httpx.get(served.url).text
    (numbers,) = re.findall(r"^const NUMBERS = (.*);$", html, re.MULTILINE)
    names = re.findall(r'\["(\w+)"', numbers)
    assert {*names} < {*SETTINGS, "max_tokens", *Sampling.model_fields}
    (listed,) = re.findall(r"^const STRATEGIES = \[(.*)\];$", html, re.MULTILINE)
    assert {*re.findall(r'"(\w+)"', listed)} == {*STRATEGIES}
