"""Reading what a server answers: numbers that may be none, and answers that are not as they should
be."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic_core import from_json, to_json

from reasoning.errors import TransientError
from reasoning.http.keys import told

_MOST = 10**9
"""Tokens that a server can mean."""


_SURELY = json.JSONEncoder(separators=(",", ":")).encode


def loads(data: bytes | bytearray) -> Any:
    """What `json.loads` finds, in less than half the time: it decides where pydantic's parser
    finds none. Raises ValueError and RecursionError as that does."""
    try:
        return from_json(data, cache_strings="keys")
    except ValueError:
        return json.loads(data)


def dumps(value: Any) -> bytes:
    """The same the other way."""
    try:
        return to_json(value)
    except ValueError:
        return _SURELY(value).encode()


def count(value: Any) -> int | None:
    """A number of tokens as a server tells it; None for what is none."""
    sound = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST
    return value if sound else None


def number(value: Any) -> float:
    """A log-probability as a server tells it. Raises TypeError for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise TypeError(f"a log-probability is {shown(value)}")
    return float(value)


def string(value: Any) -> str:
    """A text as a server tells it. Raises TypeError for what is none."""
    if not isinstance(value, str):
        raise TypeError(f"a text is {shown(value)}")
    return value


def shown(value: Any) -> str:
    """The beginning of what a server sent, for people."""
    return told(repr(value), 80)


@contextmanager
def readable() -> Iterator[None]:
    """What goes wrong in here is a server's answer that is not as it should be: TransientError."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise unreadable(error) from error


def unreadable(error: Exception) -> TransientError:
    """What to raise for an answer whose reading failed with `error`."""
    why = told(f"{type(error).__name__}: {error}")
    return TransientError(f"the server's answer cannot be read: {why}")
