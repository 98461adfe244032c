"""What requests carry so that a server can join the trace of whoever asks."""

from __future__ import annotations

from contextvars import ContextVar

TRACE: ContextVar[bytes] = ContextVar("trace", default=b"")
"""Header lines for the calls of the running task, each with its end; none where nobody traces."""
