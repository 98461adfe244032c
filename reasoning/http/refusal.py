"""What an answer means that is none: a refusal for now, for good, or of the key."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from email.utils import parsedate_to_datetime

from reasoning.errors import EngineError, ReasoningError, TransientError, refused
from reasoning.http.connection import Reply
from reasoning.http.keys import told

BUSY = (429, 502, 503, 529)
"""How a server turns a call away for now."""
_TRANSIENT = (408, 409, 425)
_GONE = re.compile(
    "connection (error|refused|reset|failed)|APIConnectionError|cannot connect|connect call failed",
    re.IGNORECASE,
)
"""What LiteLLM says, with status 500, where the server behind it cannot be reached."""
ONE_AT_A_TIME = (
    "llama_cpp.server does so unless it is started with --interrupt_requests false, and answers "
    "one call at a time in either case"
)
"""The known reason for answers that end in the middle when another call comes."""


def is_busy(reply: Reply) -> bool:
    """Whether a server turns a call away, or a gateway says that there is none behind it."""
    return reply.status in BUSY or (reply.status == 500 and bool(_GONE.search(message(reply))))


def refusal(url: str, reply: Reply) -> ReasoningError:
    """The error to raise for the call that the server at `url` has answered so."""
    status = reply.status
    said = f"{url} answered {status}: {message(reply)}"
    if (status >= 500 and status != 501) or status in (*BUSY, *_TRANSIENT):
        return TransientError(said, retry_after=retry_after(reply))
    if status in (401, 403):
        return EngineError(
            f"{said}; the key is read from the environment variable that api_key_env names"
        )
    return refused(said)


def message(reply: Reply) -> str:
    """What the server says about an error, in one line, without keys."""
    text = bytes(reply.body).decode("utf-8", "replace")
    with suppress(ValueError, AttributeError, RecursionError):
        data = json.loads(reply.body)
        error = data.get("error", data)
        text = str(error.get("message") or error.get("detail") or text)
    return told(text) or "no explanation"


def retry_after(reply: Reply) -> float | None:
    """Seconds the server asks us to wait, if it does."""
    text = reply.headers.get(b"retry-after", b"").decode("latin-1").strip()
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        date = reply.headers.get(b"date", b"").decode("latin-1")
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(date)
        return max(0.0, wait.total_seconds())
    except (TypeError, ValueError):
        return None
