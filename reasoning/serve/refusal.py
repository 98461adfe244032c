"""What a client is told when it does not get what it asked for: OpenAI's own error shape."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any

from reasoning.errors import CallError, ContextError, EngineError, UserError, cause

log = logging.getLogger(__name__)

_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
_PRIVATE = re.compile(r"\w+://[^\s'\";,)]+|(?<![\w/<])~?(?:/[\w.@+-]+){2,}/?")
"""Addresses and files, which are the server's own business."""


class RequestError(Exception):
    """A request that is answered with an error.

    `param` is the field of the request that it is about. `retry_after`, in seconds, makes it one
    that may be tried again; otherwise clients are told not to, as a search is dear.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.param = param
        self.code = code
        self.retry_after = retry_after

    @property
    def body(self) -> dict[str, Any]:
        """The error as OpenAI's clients read it."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {
            "error": {
                "message": self.message,
                "type": _TYPES.get(self.status, kind),
                "param": self.param,
                "code": self.code,
            }
        }

    @property
    def headers(self) -> dict[str, str]:
        if self.retry_after is None:
            return {"x-should-retry": "false"}
        return {"x-should-retry": "true", "Retry-After": str(self.retry_after)}


def ending() -> RequestError:
    """The server has been told to end, and gives up what has not ended by itself."""
    return RequestError(
        "this server ends, and the search had not", status=503, code="ending", retry_after=30
    )


def refusal(error: BaseException) -> RequestError:
    """What a client is told of an error: a mistake of its own in full, else no more than it needs.

    The log gets the kind of what nobody foresaw, and never its words, which may be the client's.
    """
    reason = cause(error)
    if isinstance(reason, RequestError):
        return reason
    if isinstance(reason, UserError):
        return RequestError(public(str(reason)), code="invalid_value")
    if isinstance(reason, EngineError):
        log.error("the engine is gone (%s)", type(reason).__name__)
        return RequestError(
            "the engine behind this server is gone", status=503, code="engine_gone", retry_after=30
        )
    if isinstance(reason, CallError):
        return lost([f": {type(reason).__name__}: "])
    log.error("a request failed: %s", type(reason).__name__)
    return RequestError("the server failed to answer", status=500, code="internal_error")


def lost(failures: Sequence[str]) -> RequestError:
    """Every call of the search has failed: as a result tells, with the kind of each error."""
    if failures and all(f": {ContextError.__name__}: " in failure for failure in failures):
        return RequestError(
            "the messages are longer than the context of the model behind this server",
            param="messages",
            code="context_length_exceeded",
        )
    return RequestError(
        "the model behind this server gave no answer to this request",
        status=502,
        code="generation_failed",
    )


def public(message: str) -> str:
    """A message without addresses and files."""
    return _PRIVATE.sub("(private)", message)
