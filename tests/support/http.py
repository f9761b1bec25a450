"""One client for all calls of the tests."""

from functools import cache

import httpx


@cache
def client() -> httpx.Client:
    """To make one takes ten times as long as a call. No connection is kept: servers come and go."""
    return httpx.Client(timeout=60, limits=httpx.Limits(max_keepalive_connections=0))
