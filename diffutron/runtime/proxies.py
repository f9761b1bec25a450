"""Servers on this machine are asked without a proxy."""

from collections.abc import MutableMapping

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_KINDS = ("http_proxy", "https_proxy", "all_proxy")


def spare_loopback(environment: MutableMapping[str, str]) -> None:
    """Add this machine to `no_proxy` where a proxy is set; what runs below inherits it.

    Companies and universities set a proxy and leave out `no_proxy`, so that the own Prefect and
    MLflow servers would be asked for through it.
    """
    if not any(environment.get(name) or environment.get(name.upper()) for name in _KINDS):
        return
    for name in ("no_proxy", "NO_PROXY"):  # libraries differ in which one they prefer
        listed = [part for part in environment.get(name, "").split(",") if part.strip()]
        environment[name] = ",".join(dict.fromkeys([*map(str.strip, listed), *LOOPBACK]))
