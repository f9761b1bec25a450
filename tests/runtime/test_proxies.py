"""A proxy in the environment is for other machines."""

from itertools import product

import httpx
import pytest

from diffutron.runtime.proxies import LOOPBACK, spare_loopback

DEAD = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    "name", ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
)
@pytest.mark.parametrize("listed", [None, "", "example.org", "example.org, 127.0.0.1", "*"])
def test_clients_ask_this_machine_directly(name, listed, monkeypatch):
    for each, upper in product((*_names(), "no_proxy"), (False, True)):
        monkeypatch.delenv(each.upper() if upper else each, raising=False)
    environment = {name: DEAD} | ({} if listed is None else {"no_proxy": listed})
    spare_loopback(environment)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    for host in ("127.0.0.1", "localhost", "[::1]"):
        client = httpx.Client()
        url = httpx.URL(f"{'https' if 'https' in name.lower() else 'http'}://{host}:4200/api")
        assert client._transport_for_url(url) is client._transport
    kept = [part.strip() for part in (listed or "").split(",") if part.strip()]
    assert environment["no_proxy"].split(",") == list(dict.fromkeys([*kept, *LOOPBACK]))


def _names() -> list[str]:
    return ["http_proxy", "https_proxy", "all_proxy"]


def test_without_a_proxy_nothing_changes():
    environment = {"no_proxy": "example.org", "http_proxy": ""}
    spare_loopback(environment)
    assert environment == {"no_proxy": "example.org", "http_proxy": ""}
