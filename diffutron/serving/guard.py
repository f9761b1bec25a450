"""What a request must pass before the application sees it: host, key, size, time."""

import asyncio
import hmac
import re
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diffutron.serving.errors import ApiError

MAX_BODY = 2 * 1024 * 1024  # bytes
READ_SECONDS = 20.0
OPEN = ("/", "/health", "/ready")  # the page asks for the key; machines have none


class Guard:
    """hosts: allowed names in the Host header, or None for any. key: the bearer's, or None."""

    def __init__(self, app: ASGIApp, *, hosts: Collection[str] | None, key: str | None) -> None:
        self.app, self.hosts, self.key = app, hosts, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            self._check_headers(Headers(scope=scope), scope["path"])
            body = await _read(Headers(scope=scope), receive)
        except ApiError as error:
            await error.response()(scope, receive, send)
            return
        told = False

        async def replay() -> Message:
            nonlocal told
            if told:
                return await receive()
            told = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, replay, send)

    def _check_headers(self, headers: Headers, path: str) -> None:
        host = re.sub(r":\d+$", "", headers.get("host", "")).lower()
        if self.hosts is not None and host not in self.hosts:
            raise ApiError(403, f"the host {host[:100]!r} is not served here", code="wrong_host")
        if self.key is None or path in OPEN:
            return
        given = headers.get("authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, f"Bearer {self.key}".encode()):
            raise ApiError(
                401,
                "need the key of this server as `Authorization: Bearer KEY`",
                code="invalid_api_key",
            )


async def _read(headers: Headers, receive: Receive) -> bytes:
    """The whole body. Raises ApiError for one that is too large or too slow, or breaks off."""
    size = headers.get("content-length", "0")
    too_large = size.isdigit() and int(size) > MAX_BODY
    parts: list[bytes] = []
    num_bytes = 0
    try:
        async with asyncio.timeout(READ_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise ApiError(400, "the connection closed before the whole body came")
                num_bytes += len(message.get("body", b""))
                too_large = too_large or num_bytes > MAX_BODY
                if not too_large:
                    parts.append(message.get("body", b""))
                elif num_bytes > 40 * MAX_BODY:
                    break  # a client that sends its body before it reads is told, up to here
                if not message.get("more_body", False):
                    break
    except TimeoutError as error:
        raise ApiError(408, f"the body did not come within {READ_SECONDS:g} seconds") from error
    if too_large:
        raise ApiError(413, f"the body is larger than {MAX_BODY} bytes", code="body_too_large")
    return b"".join(parts)
