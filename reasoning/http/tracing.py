"""What requests carry so that a server can join the trace of whoever asks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextvars import ContextVar

TRACE: ContextVar[bytes] = ContextVar("trace", default=b"")
"""Header lines for the calls of the running task, each with its end; none where nobody traces."""

_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
"""As W3C's Trace Context has it."""


def hand_on(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Let the servers that the running task calls hear of the trace that a request's headers tell
    of."""
    for name, value in headers:
        if name == b"traceparent" and _TRACEPARENT.fullmatch(value):
            TRACE.set(b"traceparent: %b\r\n" % value)
