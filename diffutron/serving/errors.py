"""Errors in OpenAI's shape."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse

_TYPES = {401: "authentication_error", 429: "rate_limit_error", 408: "timeout_error"}


class ApiError(Exception):
    """What a client is told; the message is one line."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers
        kind = "server_error" if status >= 500 else _TYPES.get(status, "invalid_request_error")
        line = " ".join(message.split())[:1000]
        line = line.encode("utf-8", "replace").decode("utf-8")
        self.body: dict[str, Any] = {
            "error": {"message": line, "type": kind, "param": param, "code": code}
        }

    def response(self) -> JSONResponse:
        return JSONResponse(self.body, self.status, headers=self.headers)
